"""examples/slurm.sbatch on a real Slurm: two machines, which are network namespaces."""

import contextlib
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from small_runs import HOSTS, MARK, SMALL, assert_nothing_is_left, processes_of

from d2l_alexnet.history import read_history
from d2l_alexnet.run_folder import checkpoint

pytestmark = pytest.mark.slow

SCRIPT = Path(__file__).parents[2] / "examples" / "slurm.sbatch"
NEEDED = ("munged", "slurmctld", "slurmd", "sbatch", "nsenter")
PATH = os.environ["PATH"] + ":/usr/sbin"
# Everything that the programs read and write is in the test's folder. A requeued job waits until
# the credential of its first start has expired.
CONFIG = """
ClusterName=test
SlurmctldHost=machine1({hosts[0]})
SlurmUser=root
AuthInfo=socket={folder}/munge,cred_expire=5
StateSaveLocation={folder}
SlurmdSpoolDir={folder}/%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/%n.pid
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
MpiDefault=none
SchedulerParameters=bf_interval=1
KillWait={kill_wait}
NodeName=machine1 NodeAddr={hosts[0]} CPUs=2
NodeName=machine2 NodeAddr={hosts[1]} CPUs=2
PartitionName=all Nodes=ALL Default=YES
"""
# The small run in the place of the training.
PYTHON = """#!/bin/sh
[ "$2" = d2l_alexnet.train ] || exec {python} "$@"
shift 2
exec {python} {code} "$@"
"""


def wait_until(condition, seconds=300):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.1)


class Slurm:
    """A cluster whose first machine runs the commands."""

    def __init__(self, folder, namespaces, kill_wait):
        config = folder / "slurm.conf"
        config.write_text(CONFIG.format(folder=folder, hosts=HOSTS, kill_wait=kill_wait))
        self.folder, self.namespaces, self.daemons = folder, namespaces, []
        self.log = folder / "log"
        path = f"{folder / 'bin'}:{PATH}"
        self.environment = {**os.environ, "PATH": path, "SLURM_CONF": str(config)}
        self.environment.update({MARK: str(folder), "OMP_NUM_THREADS": "1"})

    def start(self):
        (self.folder / "key").write_bytes(os.urandom(1024))
        (self.folder / "key").chmod(0o600)
        names = {"socket": "munge", "key-file": "key", "seed-file": "seed", "pid-file": "pid"}
        files = [f"--{name}={self.folder / file}" for name, file in names.items()]
        self.start_daemon("munged", "--force", "--foreground", *files)
        wait_until((self.folder / "munge").exists)
        for number, daemon in ((1, "slurmctld"), (1, "slurmd"), (2, "slurmd")):
            (self.folder / f"machine{number}").mkdir(exist_ok=True)
            there = ["nsenter", f"--net=/run/netns/{self.namespaces[number - 1]}"]
            named = f"hostname machine{number} && exec {daemon} -D"
            self.start_daemon(*there, "unshare", "--uts", "sh", "-c", named)
        wait_until(lambda: self.run("sinfo", "-hN", "-o", "%T") == "idle\nidle\n")

    def start_daemon(self, *command):
        quiet = dict(stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self.daemons.append(subprocess.Popen(command, env=self.environment, **quiet))

    def run(self, *command):
        there = ["nsenter", f"--net=/run/netns/{self.namespaces[0]}", *map(str, command)]
        return subprocess.run(there, env=self.environment, stdout=subprocess.PIPE, text=True).stdout

    def submit(self):
        """Submit a run that does not end by itself; give the job's number and the run folder."""
        run = self.folder / "run"
        arguments = [SCRIPT, run, *SMALL, "--epochs", 100_000]
        job = self.run("sbatch", "--parsable", "--output", self.log, *arguments).strip()
        return job, run

    def epochs(self):
        return [int(each) for each in re.findall(r"^epoch (\d+), ", self.text(), re.MULTILINE)]

    def text(self):
        return self.log.read_text() if self.log.exists() else ""

    def state(self, job):
        return re.search(r"JobState=(\w+)", self.run("scontrol", "show", "job", job))[1]

    def kill(self):
        """Kill all processes of the run, as Slurm does after KillWait."""
        for pids in processes_of(str(self.folder)).values():
            for pid in pids:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)

    def stop(self):
        self.kill()
        for daemon in reversed(self.daemons):
            daemon.terminate()
            daemon.wait()


@pytest.fixture
def slurm(namespaces, tmp_path, small_run, request):
    if os.geteuid() or not all(shutil.which(name, path=PATH) for name in NEEDED):
        pytest.skip("needs root and Slurm (apt-get install munge slurmctld slurmd slurm-client)")
    (tmp_path / "code.py").write_text(small_run)
    python = tmp_path / "bin" / "python"
    python.parent.mkdir()
    python.write_text(PYTHON.format(python=sys.executable, code=tmp_path / "code.py"))
    python.chmod(0o755)
    cluster = Slurm(tmp_path, namespaces, request.param)
    try:
        cluster.start()
        yield cluster
    finally:
        cluster.stop()


@pytest.mark.parametrize("slurm", [300], indirect=True)
def test_a_requeued_job_resumes_by_itself_and_a_cancelled_one_is_saved(slurm, mark):
    job, run = slurm.submit()
    for number, command in enumerate([("scontrol", "requeue"), ("scancel",)], start=1):
        wait_until(lambda: slurm.text().count("Run folder: ") == number)  # noqa: B023
        before = len(slurm.epochs())
        wait_until(lambda: len(slurm.epochs()) > before)  # noqa: B023
        slurm.run(*command, job)
        wait_until(lambda: slurm.text().count(": saved; to resume: ") == number)  # noqa: B023
        slurm.kill()
        assert_nothing_is_left(mark)
    wait_until(lambda: slurm.state(job) == "CANCELLED")
    print(slurm.text())
    epochs = list(range(1, len(slurm.epochs()) + 1))
    assert slurm.epochs() == epochs
    assert [row["epoch"] for row in read_history(run / "history.jsonl")] == epochs
    assert checkpoint.find(run)


@pytest.mark.parametrize("slurm", [1], indirect=True)
def test_a_killed_worker_ends_the_job(slurm, mark):
    job, _ = slurm.submit()
    wait_until(slurm.epochs)
    os.kill(min(processes_of(mark)["worker1"]), signal.SIGKILL)
    assert_nothing_is_left(mark)
    wait_until(lambda: slurm.state(job) == "FAILED")
    print(slurm.text())
    assert "machine2: task 3: Killed" in slurm.text()
