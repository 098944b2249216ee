import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from d2l_alexnet import datasets


@pytest.fixture(scope="session")
def fashion_mnist():
    """The real data: ((images, labels), (images, labels)), got the first time."""
    return datasets.fashion_mnist()


@pytest.fixture
def small_data(fashion_mnist, monkeypatch):
    """Let the loaders see 300 training and 70 test images, all of them real."""
    from d2l_alexnet import data

    (train_images, train_labels), (test_images, test_labels) = fashion_mnist
    slices = (train_images[:300], train_labels[:300]), (test_images[:70], test_labels[:70])
    monkeypatch.setattr(data, "fashion_mnist", lambda data_dir=None: slices)
    return slices


@pytest.fixture
def run():
    """Run a module of the package as a command; give the finished process."""

    def run_module(module, *arguments, **settings):
        return subprocess.run(
            [sys.executable, "-m", f"d2l_alexnet.{module}", *map(str, arguments)],
            capture_output=True,
            text=True,
            timeout=300,
            **settings,
        )

    return run_module


@pytest.fixture
def python():
    """Run a piece of Python in a new process; give the finished process."""

    def run_code(code, **environment):
        inherited = {name: os.environ[name] for name in os.environ if name != "OMP_NUM_THREADS"}
        return subprocess.run(
            [sys.executable, "-c", code],
            capture_output=True,
            text=True,
            timeout=120,
            env={**inherited, **environment},
        )

    return run_code


def processes_in_group(group):
    """List the living processes of a process group."""
    members = []
    for status in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, _, its_group = status.read_text().rpartition(")")[2].split()[:3]
        except OSError:  # it has just ended
            continue
        if int(its_group) == group and state != "Z":
            members.append(int(status.parent.name))
    return members


@pytest.fixture
def command():
    """Start a command in a process group of its own, and end what is left of it afterwards."""
    started = []

    def start(*arguments, **settings):
        process = subprocess.Popen(
            [sys.executable, *map(str, arguments)],
            start_new_session=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            **settings,
        )
        process.others = lambda: [p for p in processes_in_group(process.pid) if p != process.pid]
        started.append(process)
        return process

    yield start
    for process in started:
        for pid in processes_in_group(process.pid):
            os.kill(pid, signal.SIGKILL)
        process.wait()
