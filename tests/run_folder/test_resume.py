"""Runs that are stopped, killed, starved and resumed: real processes, real signals."""

import contextlib
import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from kill_and_resume import (
    CONVNET,
    EVERY_STEP,
    SETTINGS,
    assert_enough,
    kill_and_resume,
    result,
    run,
    wait,
    write_small_run,
)

from d2l_alexnet.errors import InputError
from d2l_alexnet.history import read_history
from d2l_alexnet.run_folder import checkpoint
from d2l_alexnet.train import resume

pytestmark = pytest.mark.slow

SIGNALED = """
import signal
from d2l_alexnet.callbacks.checkpointer import Checkpointer
def signaled(self, training, on_batch_end=Checkpointer.on_batch_end):
    for _ in range(2):
        signal.raise_signal(signal.{name})
    on_batch_end(self, training)
Checkpointer.on_batch_end = signaled
"""


@pytest.fixture(scope="session")
def small_run(tmp_path_factory, fashion_mnist):
    """Write the code of a small run."""
    return write_small_run(tmp_path_factory.mktemp("small"))


@pytest.fixture
def start(small_run, command):
    """Start a small run."""
    return lambda *arguments, **settings: command("-c", small_run, *arguments, **settings)


@pytest.fixture(scope="session")
def uninterrupted(small_run, tmp_path_factory):
    """The run folder of a small run that nothing disturbed."""
    out = tmp_path_factory.mktemp("uninterrupted") / "run"
    run(small_run, *SETTINGS, "--out", out)
    return out


@pytest.fixture
def start_signaled(small_run, command):
    """Start a small run that sends itself the same signal twice after its first batch."""

    def start(name, *arguments):
        code = small_run.replace("cli.run", SIGNALED.format(name=name) + "cli.run")
        return command("-c", code, *SETTINGS, *arguments)

    return start


def wait_for_checkpoint(folder, process):
    wait(process, until=lambda: checkpoint.find(folder))
    assert checkpoint.find(folder), process.communicate()[0]


def test_killed_at_any_moment_and_resumed_the_lectures_net_ends_the_same(
    small_run, uninterrupted, tmp_path, preloaded
):
    """Eight SIGKILLs, of one run after the other; the script makes hundreds."""
    expected, start = result(uninterrupted), preloaded.start
    *_, counts = kill_and_resume(small_run, tmp_path, 8, expected, start, SETTINGS, seconds=3)
    assert_enough(counts)


def test_killed_at_any_moment_and_resumed_the_convnet_ends_the_same(cifar10, tmp_path, preloaded):
    """Twelve SIGKILLs, with momentum, batch normalization and validation."""
    code = write_small_run(tmp_path, "cifar10")
    run(code, *CONVNET, "--out", tmp_path / "uninterrupted")
    expected, start = result(tmp_path / "uninterrupted"), preloaded.start
    *_, counts = kill_and_resume(code, tmp_path, 12, expected, start, CONVNET, seconds=1)
    assert_enough(counts)


def all_end(process):
    """Say whether no process of a run is left. A worker closes its output before it ends."""
    end = time.monotonic() + 10
    while process.others() and time.monotonic() < end:
        time.sleep(0.01)
    return process.others() == []


def resume_as_it_says(start, said):
    """Run the command that a stopped run has printed in its last line."""
    *_, last = said.splitlines()
    python, module_flag, module, *arguments = shlex.split(last.partition(" to resume: ")[2])
    assert (python, module_flag, module) == ("python", "-m", "d2l_alexnet.train")
    process = start(*arguments)
    assert process.communicate()[0]
    assert process.returncode == 0
    return arguments


@pytest.mark.parametrize(
    ("sent", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)]
)
def test_a_stopped_run_saves_itself_and_prints_the_command_that_resumes_it(
    start, uninterrupted, tmp_path, sent, status
):
    run = tmp_path / "the run's folder"
    process = start(*SETTINGS, "--out", run, "--num-workers", 2, "--seed", 0)
    assert any(line.startswith("An epoch of 72 images takes ") for line in process.stdout)
    process.send_signal(sent)
    said = process.communicate()[0]
    assert process.returncode == status
    (line,) = (line for line in said.splitlines() if not line.startswith("epoch "))
    assert line.startswith("d2l_alexnet: saved; to resume: ")
    assert all_end(process)
    assert checkpoint.find(run)
    arguments = resume_as_it_says(start, said)
    assert arguments == ["--resume", str(run), "--ctx", "cpu", "--num-workers", "2"]
    assert result(run) == result(uninterrupted)


def test_a_terminal_that_is_closed_sends_sighup_twice(start_signaled, tmp_path):
    process = start_signaled("SIGHUP", "--out", tmp_path / "run")
    assert process.communicate()[0].splitlines()[-1].startswith("d2l_alexnet: saved; to resume: ")
    assert process.returncode == 129
    (path,) = checkpoint.find(tmp_path / "run")
    assert checkpoint.read(path)[0].steps == 1


def test_under_nohup_sighup_is_ignored(small_run, command, tmp_path):
    settings = [*SETTINGS, "--epochs", 1, "--out", tmp_path / "run"]
    process = command("-c", small_run, *settings, wrapper=["nohup"])
    while not process.stdout.readline().startswith("Recipe "):  # nohup itself may say something
        pass
    process.send_signal(signal.SIGHUP)
    assert process.communicate()[0].splitlines()[-1].startswith("epoch 1, ")
    assert process.returncode == 0


def test_a_pipe_that_is_closed_ends_the_run_saved(start, uninterrupted, small_run, tmp_path):
    """As with ``| head -1``: the first line is read, then nothing more."""
    read, write = os.pipe()
    process = subprocess.Popen(
        [sys.executable, "-c", small_run, *SETTINGS, "--out", str(tmp_path / "run")],
        stdout=write,
        stderr=subprocess.PIPE,
        text=True,
    )
    os.close(write)
    with os.fdopen(read) as stdout:
        assert stdout.readline().startswith("Recipe lecture")
    said = process.communicate()[1]
    assert process.returncode == 1
    assert said.startswith("d2l_alexnet: cannot write to standard output (Broken pipe); saved; to ")
    assert said.count("\n") == 1
    resume_as_it_says(start, said)
    assert result(tmp_path / "run") == result(uninterrupted)


def test_a_full_disk_under_the_output_ends_the_run_in_one_line(small_run, command, tmp_path):
    to_full = ["sh", "-c", 'exec "$@" > /dev/full', "sh"]
    process = command("-c", small_run, *SETTINGS, "--out", tmp_path / "run", wrapper=to_full)
    said = process.communicate()[0]
    assert process.returncode == 1
    assert said == "d2l_alexnet: cannot write to standard output (No space left on device)\n"


def test_a_terminal_in_ascii_is_enough(small_run, command, tmp_path):
    settings = [*SETTINGS, "--epochs", 1, "--out", tmp_path / "caf\u00e9"]
    environment = {**os.environ, "PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0"}
    process = command("-c", small_run, *settings, env=environment)
    said = process.communicate()[0]
    assert process.returncode == 0, said
    assert "caf?" in said


@pytest.mark.parametrize("flag", ["--resume", "--out", "--data-dir"])
def test_an_empty_path_is_refused(start, flag):
    """An unset variable of the shell must not start a run of hours."""
    process = start(flag, "")
    said = process.communicate()[0]
    assert process.returncode == 2
    assert said.startswith(f"python -m d2l_alexnet.train: argument {flag}: is empty")
    assert said.count("\n") == 1


def test_a_run_whose_whole_process_group_is_stopped_saves_itself(start, tmp_path):
    """As a terminal, `timeout` or a machine that shuts down would."""
    process = start(*SETTINGS, "--out", tmp_path / "run", "--num-workers", 2)
    process.stdout.readline()
    os.killpg(process.pid, signal.SIGTERM)
    said = process.communicate()[0]
    assert process.returncode == 143
    assert said.splitlines()[-1].startswith("d2l_alexnet: saved; to resume: ")
    assert len(checkpoint.find(tmp_path / "run")) == 1
    assert all_end(process)


def test_a_second_ctrl_c_ends_at_once(start_signaled, tmp_path):
    process = start_signaled("SIGINT", "--out", tmp_path / "run", "--num-workers", 2)
    process.communicate()  # its output ends when no worker has it open any more
    assert process.returncode == -signal.SIGINT
    assert checkpoint.find(tmp_path / "run") == []
    assert all_end(process)


def test_a_finished_run_says_so_and_more_epochs_can_be_added(start, uninterrupted, tmp_path):
    folder = shutil.copytree(uninterrupted, tmp_path / "run")
    process = start("--resume", folder)
    assert process.communicate()[0] == (
        f"{folder}: all 2 epochs are done; for more, give a larger --epochs\n"
    )
    process = start("--resume", folder, "--epochs", 3, "--lr", 0.02)
    assert process.wait() == 0
    rows = read_history(folder / "history.jsonl")
    assert rows[:2] == read_history(uninterrupted / "history.jsonl")
    assert (rows[2]["epoch"], rows[2]["learning_rate"]) == (3, 0.02)


@pytest.mark.parametrize(
    ("option", "value", "was"),
    [
        ("--batch-size", 32, 8),
        ("--resize", 80, 67),
        ("--seed", 1, 0),
        ("--recipe", "quick", "lecture"),
    ],
)
def test_other_settings_may_not_change(start, uninterrupted, option, value, was):
    process = start("--resume", uninterrupted, option, value)
    said = process.communicate()[0]
    assert process.returncode == 2
    assert said == (
        f"d2l_alexnet: {option} {value}: cannot change when a run is resumed; "
        f"{uninterrupted} has {was}\n"
    )


def test_a_setting_that_no_run_has_cannot_change(uninterrupted):
    with pytest.raises(InputError, match="^color: a run has no such setting; choose num_epochs or"):
        resume(uninterrupted, dict(color=1))


def test_a_folder_that_is_no_run_cannot_be_resumed(start, tmp_path):
    (tmp_path / "args.json").write_text('{"recipe": {"name": "x", "color": 1}, "seed": 0}')
    none = tmp_path / "none"
    for folder, message in (
        (tmp_path, f"{tmp_path}/args.json: not the settings of a run ("),
        (none, f"{none}: there is no run; args.json is missing\n"),
    ):
        process = start("--resume", folder)
        said = process.communicate()[0]
        assert process.returncode == 2
        assert said.startswith(f"d2l_alexnet: {message}")
        assert said.count("\n") == 1
    assert not (tmp_path / "none").exists()


def test_two_runs_in_one_folder_are_one_too_many(start, tmp_path):
    first = start(*SETTINGS, "--out", tmp_path / "run")
    first.stdout.readline()
    second = start("--resume", tmp_path / "run")
    assert second.communicate()[0] == f"d2l_alexnet: {tmp_path}/run: another run is writing there\n"
    assert second.returncode == 2
    assert first.wait() == 0


@pytest.mark.parametrize(
    ("sent", "cause"),
    [
        (
            signal.SIGKILL,
            "was killed by SIGKILL: most likely the machine ran out of memory; use a ",
        ),
        (signal.SIGBUS, "was killed by SIGBUS: shared memory (/dev/shm) is full; make it larger, "),
        (signal.SIGSEGV, "ended with exit status 255; try --num-workers 0"),
    ],
)
def test_a_dead_worker_ends_the_run_in_one_line(start, tmp_path, sent, cause):
    process = start(*SETTINGS, "--epochs", 200, "--out", tmp_path / "run", "--num-workers", 2)
    process.stdout.readline()
    for other in process.others():
        # From Python 3.14 on, tqdm's lock has a process of its own.
        if b"resource_tracker" not in Path(f"/proc/{other}/cmdline").read_bytes():
            os.kill(other, sent)
    said = process.communicate()[0]
    assert process.returncode == 1
    assert f"d2l_alexnet: a loader worker {cause}" in said.splitlines()[-1]
    assert all_end(process)


def test_a_loss_that_is_not_finite_stops_the_run_and_keeps_the_last_checkpoint(start, tmp_path):
    process = start(*SETTINGS, "--lr", 1e6, "--out", tmp_path / "run", *EVERY_STEP)
    said = process.communicate()[0]
    assert process.returncode == 1
    last = said.splitlines()[-1]
    assert last.startswith("d2l_alexnet: epoch 1, step ")
    assert last.endswith(
        ": the loss is NaN or infinite (learning rate 1e+06); start again with a lower --lr"
    )
    for path in checkpoint.find(tmp_path / "run"):
        _, arrays = checkpoint.read(path)
        assert all(np.isfinite(array).all() for array in arrays.values())


def test_a_run_folder_that_vanishes_ends_the_run_in_one_line(start, tmp_path):
    process = start(*SETTINGS, "--out", tmp_path / "run", *EVERY_STEP)
    process.stdout.readline()
    wait_for_checkpoint(tmp_path / "run", process)
    (tmp_path / "run").rename(tmp_path / "gone")
    said = process.communicate()[0]
    assert process.returncode == 1
    assert f"d2l_alexnet: {tmp_path}/run/" in said.splitlines()[-1]
    assert "No such file or directory" in said.splitlines()[-1]
    assert checkpoint.read(checkpoint.find(tmp_path / "gone")[0])


@pytest.fixture
def tiny_disk(tmp_path):
    """Mount a file system of 400 MiB: enough for the small run, until something else fills it."""
    folder = tmp_path / "disk"
    folder.mkdir()
    if os.system(f"mount -t tmpfs -o size=400m tmpfs {folder} 2>/dev/null"):
        pytest.skip("this machine does not let us mount a tmpfs")
    yield folder
    os.system(f"umount -l {folder}")


def test_a_full_disk_ends_the_run_in_one_line_and_the_earlier_checkpoint_loads(start, tiny_disk):
    process = start(*SETTINGS, "--out", tiny_disk / "run", *EVERY_STEP)
    process.stdout.readline()
    wait_for_checkpoint(tiny_disk / "run", process)
    with contextlib.suppress(OSError), (tiny_disk / "filler").open("wb", buffering=0) as file:
        while True:
            file.write(bytes(1 << 20))
    said = process.communicate()[0]
    assert process.returncode == 1
    assert said.splitlines()[-1].startswith(f"d2l_alexnet: {tiny_disk}/run/")
    assert said.splitlines()[-1].endswith("cannot write it (No space left on device)")
    (tiny_disk / "filler").unlink()
    assert not list((tiny_disk / "run").glob("*.partial"))
    assert checkpoint.read(checkpoint.find(tiny_disk / "run")[0])
    assert start("--resume", tiny_disk / "run").wait() == 0


def test_a_disk_that_turns_read_only_ends_the_run_in_one_line(start, tiny_disk):
    process = start(*SETTINGS, "--out", tiny_disk / "run", *EVERY_STEP)
    process.stdout.readline()
    wait_for_checkpoint(tiny_disk / "run", process)
    while os.system(f"mount -o remount,ro {tiny_disk} 2>/dev/null"):
        assert process.poll() is None  # a file is being written
    said = process.communicate()[0]
    assert process.returncode == 1
    assert said.splitlines()[-1].startswith(f"d2l_alexnet: {tiny_disk}/run/")
    assert said.splitlines()[-1].endswith("cannot write it (Read-only file system)")
    assert checkpoint.read(checkpoint.find(tiny_disk / "run")[0])
    for arguments in (["--resume", tiny_disk / "run"], ["--out", tiny_disk / "new"]):
        process = start(*arguments)
        said = process.communicate()[0]
        assert process.returncode in (1, 2)
        assert said.splitlines()[-1].startswith("d2l_alexnet: ")
        assert "cannot write" in said.splitlines()[-1]


@pytest.fixture
def start_with_shared_memory(cifar10, tmp_path, command):
    """Start a small run of the second lecture that sees a shared memory of so many KiB."""
    own_mounts = ["unshare", "--mount", "sh", "-c"]
    if subprocess.call([*own_mounts, "mount -t tmpfs tmpfs /dev/shm"], stderr=subprocess.DEVNULL):
        pytest.skip("this machine does not let us mount a small shared memory")
    code = write_small_run(tmp_path, "cifar10")
    settings = ["--recipe", "cifar10-convnet", "--batch-size", 8, "--out", tmp_path / "run"]

    def start(kibibytes, epochs):
        mount = f"mount -t tmpfs -o size={kibibytes}k tmpfs /dev/shm"
        wrapper = [*own_mounts, f'{mount} && exec "$@"', "sh"]
        arguments = [*settings, "--epochs", epochs, "--num-workers", 2]
        return command("-c", code, *arguments, wrapper=wrapper)

    return start


def test_with_little_shared_memory_fewer_batches_are_asked_for(start_with_shared_memory):
    # The larger batches are those of an evaluation: 128 images of 3 x 32 x 32 bytes, 384 KiB.
    process = start_with_shared_memory(5 * 384, epochs=2)
    said = process.communicate()[0]
    assert process.returncode == 0
    assert said.startswith(
        "Too little shared memory in /dev/shm (2 MiB free, 0.4 MiB per batch): "
        "2 workers and 2 batches ahead instead of 2 and 4\n"
    )
    assert said.count("/dev/shm") == 1


def test_shared_memory_that_fills_up_is_named(start_with_shared_memory):
    process = start_with_shared_memory(64 << 10, epochs=200)
    process.stdout.readline()
    what_it_sees = Path("/proc", str(process.pid), "root")
    filler = what_it_sees / "dev/shm/filler"
    with filler.open("wb", buffering=0) as file:  # a page at a time, whenever one becomes free
        while process.poll() is None:
            with contextlib.suppress(OSError):
                file.write(bytes(4096))
    said = process.communicate()[0]
    assert process.returncode == 1
    last = said.splitlines()[-1]
    assert (
        "SIGBUS: shared memory (/dev/shm) is full; make it larger, or use --num-workers 0" in last
    )
    assert all_end(process)
