import contextlib
import fcntl
import functools
import http.server
import os
import resource
import shutil
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path

import preload
import pytest
from hypothesis import settings
from slices import show_slices

from d2l_alexnet.data import DATA_SETS
from d2l_alexnet.data.download import default_data_dir
from d2l_alexnet.errors import InputError

# Mutated files that tests/run_folder/test_fuzz.py makes of each kind.
for profile, max_examples in (("quick", 100), ("long", 10_000)):
    settings.register_profile(
        profile, max_examples=max_examples, deadline=None, derandomize=True, database=None
    )
settings.load_profile("quick")


@pytest.fixture(scope="session")
def fashion_mnist():
    """The real data: ((images, labels), (images, labels)), got the first time."""
    return DATA_SETS["fashion-mnist"].read(None)


@pytest.fixture
def small_data(fashion_mnist, monkeypatch):
    """Let the loaders see 300 training and 70 test images, all of them real."""
    return show_slices(monkeypatch, "fashion-mnist", fashion_mnist)


@pytest.fixture(scope="session")
def cifar10():
    """The real data: ((images, labels), (images, labels)), got once, whoever asks first."""
    folder = default_data_dir("cifar10")
    folder.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(folder, os.O_RDONLY)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    try:
        return DATA_SETS["cifar10"].read(None)
    except InputError as error:
        if shutil.which("npm"):
            raise
        pytest.skip(str(error))
    finally:
        os.close(descriptor)


@pytest.fixture
def small_cifar10(cifar10, monkeypatch):
    """Let the loaders see 300 training images, a tenth of them set apart, and 70 test images."""
    return show_slices(monkeypatch, "cifar10", cifar10)


@pytest.fixture
def server(tmp_path):
    """Serve a folder over HTTP; give the folder and its address."""
    folder = tmp_path / "served"
    folder.mkdir()
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as httpd:
        threading.Thread(target=httpd.serve_forever, daemon=True).start()
        yield folder, f"http://127.0.0.1:{httpd.server_port}/"
        httpd.shutdown()


@pytest.fixture
def unused_address():
    """Give an address at which nobody listens, and nobody else can as long as a test runs."""
    with socket.socket() as reserved:
        reserved.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{reserved.getsockname()[1]}/"


@pytest.fixture(scope="session")
def preloaded():
    """A server that starts commands without importing MXNet anew for each."""
    server = preload.Server()
    yield server
    server.close()


@pytest.fixture
def run(preloaded):
    """Run a module of the package as a command; give the finished process.

    With any setting of `subprocess.run` but the folder, a new Python runs it.
    """

    def run_module(module, *arguments, cwd=None, **settings):
        arguments = ["-m", f"d2l_alexnet.{module}", *map(str, arguments)]
        if settings:
            command = [sys.executable, *arguments]
            return subprocess.run(
                command, capture_output=True, text=True, timeout=300, cwd=cwd, **settings
            )
        process = preloaded.start(arguments, cwd, separate_errors=True)
        out, err = process.communicate(timeout=300)
        return subprocess.CompletedProcess(arguments, process.returncode, out, err)

    return run_module


@pytest.fixture
def python():
    """Run a piece of Python in a new process; give the finished process."""

    def run_code(code, *arguments, **environment):
        inherited = {name: os.environ[name] for name in os.environ if name != "OMP_NUM_THREADS"}
        return subprocess.run(
            [sys.executable, "-c", code, *arguments],
            capture_output=True,
            text=True,
            timeout=300,
            env={**inherited, **environment},
        )

    return run_code


@pytest.fixture
def no_room():
    """Make a context in which files end after 100 bytes, as if the disk were full."""

    @contextlib.contextmanager
    def limited():
        _, hard = limits = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (100, hard))
        try:
            yield
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)

    return limited


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


def reset_signals():
    """Heed SIGINT and SIGHUP, also where a shell or nohup has the tests ignore them."""
    for signum in (signal.SIGINT, signal.SIGHUP):
        signal.signal(signum, signal.SIG_DFL)


@pytest.fixture
def command(preloaded):
    """Start a command in a process group of its own, and end what is left of it afterwards."""
    started = []

    def start(*arguments, wrapper=(), **settings):
        if wrapper or settings:  # which need a new Python
            process = subprocess.Popen(
                [*wrapper, sys.executable, *map(str, arguments)],
                start_new_session=True,
                preexec_fn=reset_signals,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                **settings,
            )
            process.communicate = functools.partial(preload.read_to_the_end, process)
        else:
            process = preloaded.start(arguments)
        process.others = lambda: [p for p in processes_in_group(process.pid) if p != process.pid]
        started.append(process)
        return process

    yield start
    for process in started:
        for pid in processes_in_group(process.pid):
            os.kill(pid, signal.SIGKILL)
        process.wait()
