"""Runs of several processes: real ones, over the loopback and between network namespaces."""

import contextlib
import os
import platform
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
from pathlib import Path

import mxnet as mx
import numpy as np
import pytest
from kill_and_resume import result
from small_runs import (
    HOSTS,
    MARK,
    RUN,
    SETTINGS,
    SMALL,
    assert_nothing_is_left,
    processes_of,
    read_until,
)

import d2l_alexnet
from d2l_alexnet.distributed import launch, process_group
from d2l_alexnet.errors import InputError
from d2l_alexnet.evaluate import evaluate
from d2l_alexnet.history import read_history
from d2l_alexnet.run_folder import checkpoint
from d2l_alexnet.runtime.cores import usable_cores

pytestmark = pytest.mark.slow

# The first worker does not go past its second step before it is signaled.
UNTIL_SIGNALED = """
import time
from d2l_alexnet.callbacks.checkpointer import Checkpointer

def wait(self, training, on_batch_end=Checkpointer.on_batch_end):
    while training.state.steps == 2 and not self.stop.signum:
        time.sleep(0.01)
    on_batch_end(self, training)

Checkpointer.on_batch_end = wait
"""
LAUNCH = """
from d2l_alexnet import cli
from d2l_alexnet.distributed import launch
launch.TRAIN = {code}
cli.run(launch.main)
"""
NORMALIZED = ["--recipe", "normalized", "--resize", 32, *SETTINGS]
ALEXNET = ["--recipe", "lecture", "--resize", 67, "--train-size", 48, *SETTINGS, "--epochs", 1]
ONE_THREAD = dict(OMP_NUM_THREADS="1")  # another number may round otherwise


@pytest.fixture(scope="module")
def one_process(small_run, tmp_path_factory):
    """Run one process with each net on one device and on two; give the folders by both."""
    folders, processes = {}, []
    runs = dict(small=SMALL, normalized=NORMALIZED, alexnet=ALEXNET)
    for name, settings in runs.items():
        commands = []
        for devices, ctx in ((1, "cpu"), (2, "cpu:0,1")):
            folders[name, devices] = tmp_path_factory.mktemp("one_process") / "run"
            arguments = [*settings, "--ctx", ctx, "--out", folders[name, devices]]
            commands.append([str(each) for each in arguments])
        code = small_run.replace(RUN, f"for arguments in {commands}:\n    train.main(arguments)")
        processes.append(
            subprocess.Popen([sys.executable, "-c", code], env={**os.environ, **ONE_THREAD})
        )
    assert [process.wait() for process in processes] == [0, 0, 0]
    return folders


@pytest.fixture
def start(small_run, command, mark):
    """Start a small run of several processes, or other code instead of the training."""

    def launch_small(*arguments, code=small_run, python=sys.executable, wrapper=()):
        launch_code = LAUNCH.format(code=[python, "-c", code])
        environment = {**os.environ, **ONE_THREAD, MARK: mark}
        return command("-c", launch_code, *arguments, env=environment, wrapper=wrapper)

    return launch_small


def assert_close(folder, expected):
    """Compare up to rounding, which depends on the number of images in an array."""
    (weights, rows), (expected_weights, expected_rows) = result(folder), result(expected)
    assert weights.keys() == expected_weights.keys()
    for name in weights:
        found, weight = (np.frombuffer(each[name], "<f4") for each in (weights, expected_weights))
        assert np.allclose(found, weight, rtol=1e-4, atol=5e-5)
    assert [row.pop("loss") for row in rows] == pytest.approx(
        [row.pop("loss") for row in expected_rows], rel=1e-5
    )
    for row, expected_row in zip(rows, expected_rows):
        assert row == pytest.approx(expected_row, abs=0.02)  # one image in 70 on the edge


@pytest.mark.parametrize(("workers", "servers"), [(2, 2), (3, 1)])
def test_several_workers_learn_what_one_does(start, one_process, tmp_path, workers, servers):
    net, settings = ("alexnet", ALEXNET) if workers == 2 else ("small", SMALL)
    shape = ("--workers", workers, "--servers", servers)
    process = start(*shape, "--", *settings, "--out", tmp_path / "run")
    said = process.communicate(timeout=300)[0]
    assert process.returncode == 0, said
    assert_close(tmp_path / "run", one_process[net, 1])
    if workers == 2:  # the server adds up three workers in any order
        assert result(tmp_path / "run") == result(one_process[net, 2])
    lines = said.splitlines()
    assert all(line.startswith("[worker 0] ") for line in lines), said  # the others say nothing
    assert re.match(r"\[worker 0\] epoch [12], loss ", lines[-1])


def test_a_run_is_resumed_with_the_same_patience():
    job = launch.Job(["--workers", "2"], ["--recipe", "quick", "--patience", "5", "--ctx", "cpu"])
    job.folder = "runs/a b"
    assert job._how_to_resume() == (
        "to resume: python -m d2l_alexnet.distributed.launch --workers 2 -- "
        "--resume 'runs/a b' --ctx cpu --patience 5.0"
    )


@pytest.mark.parametrize(
    ("role", "name"), [("worker1", "worker 1"), ("server", "server 0"), ("scheduler", "scheduler")]
)
def test_the_death_of_any_process_ends_all(start, mark, tmp_path, role, name):
    many = ("--epochs", 1000, "--out", tmp_path / "run")
    process = start("--", *SMALL, *many)
    read_until(process, "epoch 1, loss ")
    os.kill(min(processes_of(mark)[role]), signal.SIGKILL)
    said = process.communicate(timeout=300)[0]
    assert process.returncode == 1
    assert said.splitlines()[-1] == (
        f"d2l_alexnet: {name} on localhost was killed by SIGKILL; all others were ended; "
        "to resume: python -m d2l_alexnet.distributed.launch --workers 2 --servers 1 -- "
        f"--resume {tmp_path / 'run'} --num-workers 1"
    )
    assert_nothing_is_left(mark)


def test_ctrl_c_saves_the_run_and_it_can_be_resumed(
    start, mark, small_run, one_process, tmp_path, small_data
):
    """Batch normalization has one running average for all workers, tested, saved and resumed."""
    waiting = small_run.replace(RUN, UNTIL_SIGNALED + RUN)
    process = start("--", *NORMALIZED, "--out", tmp_path / "run", code=waiting)
    read_until(process, "Run folder: ")
    process.send_signal(signal.SIGINT)
    said = process.communicate(timeout=300)[0]
    assert process.returncode == 130, said
    shape, arguments = re.search(
        r": stopped; to resume: python -m d2l_alexnet.distributed.launch (.*) -- (.*)\n$", said
    ).groups()
    assert_nothing_is_left(mark)
    process = start(*shape.split(), "--", *arguments.split())
    said = process.communicate(timeout=300)[0]
    assert process.returncode == 0, said
    assert result(tmp_path / "run") == result(one_process["normalized", 2])
    evaluation = evaluate(tmp_path / "run", ctx="cpu", num_workers=0)
    *_, row = read_history(tmp_path / "run" / "history.jsonl")
    assert evaluation.correct / len(evaluation.labels) == row["test_accuracy"]


@pytest.fixture
def stand_in(namespaces, tmp_path):
    """Make a command that is used as ssh is, and needs no server."""
    ssh = tmp_path / "ssh"
    cases = "".join(f"{host}) name={name};;" for host, name in zip(HOSTS, namespaces))
    ssh.write_text(f'#!/bin/sh\ncase $1 in {cases} esac; shift\nip netns exec $name sh -c "$*"')
    ssh.chmod(0o755)
    return str(ssh)


# Everything that the two programs read is in the test's folder. They give up a host that has not
# answered for five seconds.
SSHD_CONFIG = """
ListenAddress {host}
HostKey {folder}/host
AuthorizedKeysFile {folder}/user.pub
StrictModes no
UsePAM no
PidFile none
ClientAliveInterval 1
ClientAliveCountMax 5
"""
SSH_CONFIG = """
IdentityFile {folder}/{key}
IdentitiesOnly yes
UserKnownHostsFile {folder}/known
GlobalKnownHostsFile none
BatchMode yes
ServerAliveInterval 1
ServerAliveCountMax 5
"""


@pytest.fixture
def openssh(namespaces, tmp_path):
    """Start OpenSSH's server in every namespace; give the command ssh."""
    sshd = shutil.which("sshd", path=os.environ["PATH"] + ":/usr/sbin")
    if not sshd or os.geteuid():
        pytest.skip("needs sshd (apt-get install openssh-server) and root")
    Path("/run/sshd").mkdir(exist_ok=True)  # where sshd locks up its unprivileged half
    for key in ("host", "user", "stranger"):
        command = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", tmp_path / key]
        subprocess.run(command, check=True)
    public = (tmp_path / "host.pub").read_text()
    (tmp_path / "known").write_text("".join(f"{host} {public}" for host in HOSTS))
    for key in ("user", "stranger"):
        config = SSH_CONFIG.format(folder=tmp_path, key=key)
        (tmp_path / f"{key}.config").write_text(config)
    servers = []
    try:
        for name, host in zip(namespaces, HOSTS):
            config = tmp_path / f"{host}.config"
            config.write_text(SSHD_CONFIG.format(folder=tmp_path, host=host))
            command = ["ip", "netns", "exec", name, sshd, "-D", "-e", "-f", config]
            servers.append(subprocess.Popen(command, stderr=subprocess.PIPE, text=True))
            assert f"Server listening on {host} port 22." in servers[-1].stderr.readline()
        yield f"ssh -F {tmp_path}/user.config"
    finally:
        for server in servers:
            server.kill()
            server.wait()
            server.stderr.close()


@pytest.fixture
def start_there(namespaces, start, tmp_path):
    """Start a launcher on the first of some hosts."""

    def launch_there(ssh, number, *arguments, **settings):
        (tmp_path / "hosts").write_text("# some\n" + "\n".join(HOSTS[:number]))
        where = ["--hosts", tmp_path / "hosts", "--ssh", ssh]
        wrapper = ["ip", "netns", "exec", namespaces[0]]
        return start(*where, *arguments, wrapper=wrapper, **settings)

    return launch_there


@pytest.mark.parametrize("kind", ["stand_in", "openssh"])
def test_a_host_that_vanishes_is_noticed(kind, namespaces, start_there, mark, tmp_path, request):
    ssh = request.getfixturevalue(kind)
    # The first value is for a worker that notices it before ssh would; a slow machine gets a second
    # chance.
    for patience in (3, 60) if kind == "stand_in" else (300,):
        run = tmp_path / f"run{patience}"
        many = ["--epochs", 1000, "--patience", patience, "--out", run]
        process = start_there(ssh, 2, "--", *SMALL, *many)
        with contextlib.suppress(AssertionError):
            read_until(process, "epoch 1, loss ")
            break
    os.system(f"ip -n {namespaces[1]} link set net down")
    said = process.communicate(timeout=300)[0]
    print(said)
    assert process.returncode == 1, said
    *_, reason, last = said.splitlines()
    if kind == "stand_in":
        assert f"] d2l_alexnet: timed out after {patience} s (--patience): " in reason
        assert reason.endswith("; check the hosts and the network")
        ended = r"d2l_alexnet: worker \d on 192.0.2.\d ended with exit status 1; all others"
    else:
        assert f"[worker 1] Timeout, server {HOSTS[1]} not responding." in said
        ended = rf"d2l_alexnet: worker 1 on {HOSTS[1]} ended with exit status 255 \(usually ssh"
    assert re.match(ended, last)
    quoted = shlex.join(["--hosts", str(tmp_path / "hosts"), "--ssh", ssh, "--", "--resume"])
    assert f" {quoted} {run} --num-" in last
    assert_nothing_is_left(mark)


def test_three_machines_over_ssh_learn_what_one_process_does(
    openssh, start_there, one_process, mark, tmp_path
):
    shape = ["--workers", 3, "--servers", 2]
    process = start_there(openssh, 3, *shape, "--", *SMALL, "--out", tmp_path / "it's here")
    said = process.communicate(timeout=300)[0]
    print(said)
    assert process.returncode == 0, said
    assert_close(tmp_path / "it's here", one_process["small", 1])
    assert all(line.startswith("[worker 0] ") for line in said.splitlines())
    assert_nothing_is_left(mark)


def test_the_workers_of_a_host_share_its_cores(openssh, start_there):
    code = "import os, sys, d2l_alexnet; sys.exit('threads ' + os.environ['OMP_NUM_THREADS'])"
    process = start_there(openssh, 2, "--workers", 4, code=code)
    said = process.communicate(timeout=300)[0]
    print(said)
    assert re.search(rf"^\[worker \d\] threads {max(1, usable_cores() // 2)}$", said, re.MULTILINE)


@pytest.mark.parametrize("wrong", ["key", "Python"])
def test_a_host_that_cannot_start_a_process_is_named(openssh, start_there, mark, tmp_path, wrong):
    ssh = openssh.replace("user.config", "stranger.config") if wrong == "key" else openssh
    python = "/no/such/python" if wrong == "Python" else sys.executable
    process = start_there(ssh, 2, "--", *SMALL, "--out", tmp_path / "run", python=python)
    said = process.communicate(timeout=300)[0]
    print(said)
    assert process.returncode == 1, said
    *_, reason, last = said.splitlines()
    why, status = {
        "key": (
            r"root@192.0.2.\d: Permission denied \(publickey.*\).",
            r"255 \(usually ssh itself ",
        ),
        "Python": (
            "env: .*/no/such/python.*: No such file",
            r"127 \(no such program on that host\)",
        ),
    }[wrong]
    assert re.search(why, reason)
    assert re.match(rf"d2l_alexnet: \S+( \d)? on 192.0.2.\d ended with exit status {status}", last)
    assert not (tmp_path / "run").exists()
    assert_nothing_is_left(mark)


# The version of the package on the second worker's host.
OLDER = """
import os
import d2l_alexnet
if os.environ["DMLC_RANK"] == "1":
    d2l_alexnet.__version__ = "0.0.9"
"""


def test_another_version_over_ssh_ends_the_run(openssh, start_there, small_run, mark, tmp_path):
    code = small_run.replace(RUN, OLDER + RUN)
    process = start_there(openssh, 2, "--", *SMALL, "--out", tmp_path / "run", code=code)
    said = process.communicate(timeout=300)[0]
    print(said)
    assert process.returncode == 2, said
    line, last = said.splitlines()
    differs = f"'0.0.9' on {platform.node()} (worker 1), but '{d2l_alexnet.__version__}' on "
    assert line.startswith(f"[worker 1] d2l_alexnet: d2l_alexnet is {differs}")
    assert last == (
        f"d2l_alexnet: worker 1 on {HOSTS[1]} ended with exit status 2; all others were ended"
    )
    assert not (tmp_path / "run").exists()
    assert_nothing_is_left(mark)


EXCHANGE = """
import threading
import d2l_alexnet
import mxnet as mx
from d2l_alexnet.distributed.process_group import join
from d2l_alexnet.distributed.watchdog import Watchdog
from d2l_alexnet.options import DistributedOptions

looks = threading.Semaphore(0)

def slowly(timed_out=Watchdog._timed_out):
    def look(self):
        looks.release()
        return timed_out(self)

    Watchdog._timed_out = look
    for _ in range(3):
        looks.acquire()
    group.watchdog.patience = 60
    return dict(third=1 / 3, text="x" * 100_000)

with join(DistributedOptions("dist_sync", patience=60)) as group:
    group.watchdog.reset(None)
    group.watchdog.patience = 0  # ends a worker whose timer is on when the watchdog looks
    assert group.broadcast_object(slowly) == dict(third=1 / 3, text="x" * 100_000)
    group.watchdog.patience = 60
    sums = [group.all_reduce(mx.nd.array([n, group.rank])) for n in range(300)]
    assert [each.asnumpy().tolist() for each in sums] == [[2 * n, 1] for n in range(300)]
"""


def test_broadcast_object_has_no_time_limit_and_sums_keep_their_order(start):
    process = start("--servers", 2, code=EXCHANGE)
    assert process.communicate(timeout=300)[0] == ""
    assert process.returncode == 0


UNINVITED = """
import sys
import time
from pathlib import Path
import d2l_alexnet
import mxnet as mx
from d2l_alexnet.distributed.process_group import join
from d2l_alexnet.options import DistributedOptions

folder = Path(sys.argv[-1])
with join(DistributedOptions("dist_sync", patience=300)) as group:
    if group.is_main:
        # MXNet's own server unpickles it, which makes the folder, and then answers.
        pickled = f"cposix\\nmkdir\\n(V{folder}\\ntR."
        group.kvstore._send_command_to_servers(0, pickled)
        print("sent", flush=True)
        while not folder.with_name("go").exists():
            time.sleep(0.01)
    group.all_reduce(mx.nd.ones(1)).wait_to_read()
"""


def test_a_server_refuses_code_and_sigterm_and_all_listen_only_where_they_were_told(
    start, mark, tmp_path
):
    process = start("--servers", 1, "--", tmp_path / "made", code=UNINVITED)
    said = read_until(process, "] sent\n")
    listening = {name: listening_at(*ids) for name, ids in processes_of(mark).items()}
    for name in ("scheduler", "server"):  # as Slurm does, and then the first worker saves the run
        os.kill(min(processes_of(mark)[name]), signal.SIGTERM)
    (tmp_path / "go").touch()
    said += process.communicate()[0]
    assert process.wait() == 0, said
    assert not (tmp_path / "made").exists()
    assert said.count("[server 0] d2l_alexnet: refused command 0, which can contain code") == 1
    assert said.count("\n") == 2
    assert listening.keys() == {"scheduler", "server", "worker0", "worker1"}
    assert set(map(tuple, listening.values())) == {("127.0.0.1",)}


def listening_at(*ids):
    """List the IPv4 addresses at which processes accept connections."""
    fds = [fd for pid in ids for fd in Path(f"/proc/{pid}/fd").iterdir()]
    sockets = {os.readlink(fd) for fd in fds if fd.is_symlink()}
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    found = [row[1] for row in rows if row[3] == "0A" and f"socket:[{row[9]}]" in sockets]
    return [socket.inet_ntoa(bytes.fromhex(each[:8])[::-1]) for each in found]


def test_when_nobody_reads_on_the_run_is_saved_and_ends(start, mark, small_run, tmp_path):
    """As with ``| head -1``. The first worker goes on printing until it is signaled."""
    noisy = UNTIL_SIGNALED.replace("time.sleep(0.01)", "print('here', flush=True)")
    code, run = small_run.replace(RUN, noisy + RUN), tmp_path / "run"
    errors = ["sh", "-c", f'exec "$@" 2> {tmp_path}/errors', "sh"]
    process = start("--", *SMALL, "--out", run, code=code, wrapper=errors)
    read_until(process, "] here\n")
    process.stdout.close()
    assert process.wait(timeout=300) == 1
    assert (tmp_path / "errors").read_text() == (
        "d2l_alexnet: cannot write to standard output (Broken pipe); to resume: python -m d2l_alexn"
        f"et.distributed.launch --workers 2 --servers 1 -- --resume {run} --num-workers 1\n"
    )
    assert checkpoint.read(checkpoint.find(run)[0])[0].steps == 2
    assert_nothing_is_left(mark)


def test_independent_runs_in_one_folder_are_refused(tmp_path):
    for arguments in (["--kvstore", "device"], ["--kvs=device"]):
        with pytest.raises(InputError, match="^--kvstore: every worker gets dist_sync; omit it$"):
            launch.launch(2, 1, [*arguments, "--out", str(tmp_path / "run")])


def test_bad_input_of_the_training_ends_all_with_status_2(start, tmp_path):
    process = start("--", *SMALL, "--batch-size", 25, "--out", tmp_path / "run")
    said = process.communicate(timeout=300)[0]
    assert process.returncode == 2
    assert "Traceback" not in said
    message = "--batch-size 25: a batch of 25 images cannot be split equally among 2 workers"
    assert f"] d2l_alexnet: {message}" in said
    assert re.search(r"d2l_alexnet: worker \d on localhost ended with exit status 2; .*\n$", said)


# The second worker is started with another setting, on another kind of CPU.
ODD_ONE_OUT = """
import os
import sys
from d2l_alexnet.runtime import cpu
odd = os.environ["DMLC_RANK"] == "1"
cpu.instruction_sets = lambda: ["avx", "avx2"] if odd else ["avx", "avx512f"]
if odd:
    sys.argv += ["--lr", "0.5"]
"""


def test_workers_with_other_settings_or_cpus_are_named(start, small_run, tmp_path):
    code = small_run.replace(RUN, ODD_ONE_OUT + RUN)
    process = start("--", *SMALL, "--out", tmp_path / "run", code=code)
    said = process.communicate(timeout=300)[0]
    assert process.returncode == 2, said
    here = platform.node()
    assert said.splitlines()[:2] == [
        f"[worker 1] d2l_alexnet: the CPUs of {here} (worker 1) and {here} (worker 0) differ in "
        "avx2, avx512f, so their results may be rounded differently; the run repeats bit for bit "
        "only with the same CPUs in the same order",
        f"[worker 1] d2l_alexnet: lr is 0.5 on {here} (worker 1), but 0.01 on {here} (worker 0); "
        "all workers need the same",
    ]
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("package", ["d2l_alexnet", "mxnet"])
def test_another_version_on_a_host_is_named(monkeypatch, package):
    """As the second worker sees it. The first one has sent its host and its versions."""
    group = object.__new__(process_group.ProcessGroup)
    group.rank = 1
    versions = dict(d2l_alexnet=d2l_alexnet.__version__, mxnet=mx.__version__)
    first = ["other", {**versions, package: "0.0.9"}]
    monkeypatch.setattr(group, "broadcast_object", lambda make, reason: first, raising=False)
    with pytest.raises(InputError) as caught:
        group._check_hosts()
    assert str(caught.value) == (
        f"{package} is {versions[package]!r} on {platform.node()} (worker 1), but '0.0.9' on other "
        "(worker 0); all workers need the same"
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("# none\n\n", "the file contains no host"),
        ("no.such.host.\n", "^--hosts: found 'no.such.host.', should be a host "),
        ("a..b\n", "^--hosts: found 'a..b', should be a host [^\n]*$"),
    ],
)
def test_bad_host_files_are_named(text, message, tmp_path):
    (tmp_path / "hosts").write_text(text)
    with pytest.raises(InputError, match=message):
        launch.read_hosts(tmp_path / "hosts")
    with pytest.raises(InputError, match="cannot read it"):
        launch.read_hosts(tmp_path / "none")


def test_a_command_for_another_host_survives_its_shell(tmp_path, monkeypatch):
    """With a folder, a variable and an argument that a shell would take apart."""
    folder = tmp_path / "it's here"
    folder.mkdir()
    monkeypatch.chdir(folder)
    code = "import os, sys; print(os.getcwd(), os.environ['MINE'], sys.argv[1]); sys.exit(3)"
    command = [sys.executable, "-c", code, "$HOME 'x'"]
    (*ssh, script), _ = launch.over_ssh(["ssh"], "host", command, dict(MINE='a "b" $c'))
    assert ssh == ["ssh", "host"]
    done = subprocess.run(["sh", "-c", script], stdout=subprocess.PIPE, text=True)
    assert (done.returncode, done.stdout) == (3, f"{folder} a \"b\" $c $HOME 'x'\n")


def test_until_the_scheduler_listens_at_its_port_no_other_program_does():
    with launch.reserved_port() as port:
        with socket.socket() as other, pytest.raises(OSError, match="Address already in use"):
            other.bind(("127.0.0.1", port))
        with socket.socket() as scheduler:
            scheduler.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as ps-lite does
            scheduler.bind(("127.0.0.1", port))
            scheduler.listen()
            socket.create_connection(("127.0.0.1", port)).close()


@pytest.mark.parametrize(("threads", "each"), [("4", 1), ("1", 1), ("4,2", 1), ("8,1", 1)])
def test_threads_are_divided_among_the_workers(monkeypatch, threads, each):
    """OpenMP takes a list too: the threads of each level of nesting."""
    monkeypatch.setenv("OMP_NUM_THREADS", threads)
    monkeypatch.setattr(launch, "usable_cores", lambda: 2)
    assert launch.threads_per_worker(2) == each
    monkeypatch.setattr(launch, "usable_cores", lambda: 32)
    assert launch.threads_per_worker(2) == int(threads.split(",")[0])
