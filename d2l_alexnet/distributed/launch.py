"""Train with several processes, here or on several machines, and see to it that none hangs.

``python -m d2l_alexnet.distributed.launch --workers 2 -- --recipe quick`` starts a scheduler, a server and two
workers of MXNet's parameter server. When one of them dies, MXNet's others wait for ever; here, all
end within seconds, and one line says which it was and how to go on.
"""

from __future__ import annotations

import contextlib
import os
import re
import shlex
import signal
import socket
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path

from d2l_alexnet import cli
from d2l_alexnet.distributed import rendezvous
from d2l_alexnet.errors import InputError, RunError
from d2l_alexnet.runtime.cores import usable_cores
from d2l_alexnet.runtime.signals import StopRequest

HERE = "localhost"
SSH = "ssh -o BatchMode=yes -o ServerAliveInterval=10"  # seconds
TRAIN = [sys.executable, "-m", "d2l_alexnet.train"]
SERVE = [sys.executable, "-c", "import d2l_alexnet, mxnet"]  # importing MXNet is all there is to do
FORWARDED = ("DMLC_", "MXNET_", "PS_")  # variables whose names begin so reach other hosts
SECONDS_TO_END = 10  # for the servers when the workers are done, and for what has been killed
EPILOG = """What follows -- is for python -m d2l_alexnet.train; --kvstore dist_sync is added.
--batch-size stays that of all workers together. On other hosts, which ssh must reach without a
password, the current folder and this Python have to be where they are here. Ctrl-C has the first
worker save the run and ends all; a second one ends them at once."""


@dataclass(frozen=True)
class Role:
    """One process of a distributed run.

    Parameters
    ----------
    kind : str
        scheduler, server or worker.
    number : int
        Which of its kind, counted from 0; for a worker, its rank.
    host : str
        Where it runs.
    """

    kind: str
    number: int
    host: str

    @property
    def name(self):
        """What its lines begin with."""
        return self.kind if self.kind == "scheduler" else f"{self.kind} {self.number}"


def launch(workers, servers, arguments, hosts=None, port=None, ssh=SSH):
    """Start all processes of a distributed run, and end them together.

    Parameters
    ----------
    workers, servers : int
        How many.
    arguments : list of str
        For `d2l_alexnet.train`.
    hosts : path, optional
        A file with a host a line, over which workers and servers are dealt out in turn; the first
        one also has the scheduler. This machine if it is not given.
    port : int, optional
        The scheduler's; one that is free here if it is not given.
    ssh : str
        The command that runs another one on a host.

    Raises
    ------
    InputError
        For bad input, the training's own included.
    RunError
        When one of the processes has died.
    Interrupted
        After Ctrl-C or SIGTERM; the run can be resumed.
    """
    names = read_hosts(hosts) if hosts else [HERE]
    settings = {
        rendezvous.HOST: address(names[0]),
        rendezvous.PORT: str(port or free_port()),
        rendezvous.WORKERS: str(workers),
        rendezvous.SERVERS: str(servers),
    }
    again = ["--workers", str(workers), "--servers", str(servers)]
    if hosts:
        again += ["--hosts", str(hosts)] + (["--ssh", ssh] if ssh != SSH else [])
    with StopRequest() as stop, Job(again) as job:
        for role in deal_out(workers, servers, names):
            command, variables = command_of(role, arguments)
            variables.update(settings)
            if hosts:
                job.start(role, *over_ssh(ssh.split(), role.host, command, variables))
            else:
                variables["OMP_NUM_THREADS"] = str(share_of_cores(workers))
                job.start(role, command, variables)
        job.supervise(stop)


def deal_out(workers, servers, hosts):
    """Give each process of a run its host, in turn; the scheduler the first one."""
    kinds = (("scheduler", 1), ("server", servers), ("worker", workers))
    return [Role(kind, n, hosts[n % len(hosts)]) for kind, number in kinds for n in range(number)]


def read_hosts(path):
    """Read a host file: a name or address a line; what follows # is a comment.

    Raises
    ------
    InputError
        When there is none in it, or one cannot be found.
    """
    try:
        lines = Path(path).read_text().splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"--hosts {path}: cannot read it ({error})") from error
    hosts = [line.partition("#")[0].strip() for line in lines]
    hosts = [host for host in hosts if host]
    if not hosts:
        raise InputError(f"--hosts {path}: there is no host in it")
    for host in hosts:
        address(host)
    return hosts


def address(host):
    """Find the address of a host: what the other processes know it by."""
    try:
        return socket.getaddrinfo(host, None, socket.AF_INET)[0][4][0]
    except OSError as error:
        raise InputError(f"--hosts: {host!r} is not a host ({error.strerror})") from error


def free_port():
    """Find a port that nobody listens at here."""
    with socket.socket() as trial:
        trial.bind(("", 0))
        return trial.getsockname()[1]


def command_of(role, arguments):
    """Give the command line of a role, and the variables that it needs besides those of all."""
    variables = {
        rendezvous.ROLE: role.kind,
        rendezvous.NODE: address(role.host),
        rendezvous.LEASH: "1",
        "PYTHONUNBUFFERED": "1",
    }
    if role.kind != "worker":
        return SERVE, variables
    variables[rendezvous.RANK] = str(role.number)
    return [*TRAIN, "--kvstore", "dist_sync", *arguments], variables


def over_ssh(ssh, host, command, variables):
    """Give the command line that runs a command on another host, in this folder.

    Returns
    -------
    command : list of str
    variables : dict
        None that it needs here.
    """
    given = {name: os.environ[name] for name in os.environ if name.startswith(FORWARDED)}
    there = [f"{name}={value}" for name, value in {**given, **variables}.items()]
    script = f"cd {shlex.quote(str(Path.cwd()))} && env {shlex.join([*there, *command])}; exit $?"
    return [*ssh, host, f"sh -c {shlex.quote(script)}"], {}


def share_of_cores(workers):
    """Give the threads that each of the workers of this machine may have: its equal share."""
    return max(1, min(int(os.environ["OMP_NUM_THREADS"]), usable_cores() // workers))


class Job:
    """The processes of a distributed run.

    Parameters
    ----------
    again : list of str
        The launcher's options with which a run like this one is resumed.

    Attributes
    ----------
    folder : str or None
        The run folder, once the first worker has named it.
    """

    def __init__(self, again):
        self.again, self.folder = again, None
        self.running, self._readers, self._quiet = {}, {}, False

    def start(self, role, command, variables):
        """Start a process, with variables added to ours."""
        try:
            process = subprocess.Popen(
                command,
                env={**os.environ, **variables},
                stdin=subprocess.PIPE,  # its leash: see `d2l_alexnet.rendezvous`
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # a terminal's Ctrl-C is for the launcher alone
                text=True,
                errors="replace",
            )
        except OSError as error:
            raise InputError(f"{command[0]}: cannot run it ({error.strerror})") from error
        self.running[role] = process
        self._readers[role] = threading.Thread(target=self._forward, args=(role, process.stdout))
        self._readers[role].start()

    def _forward(self, role, lines):
        """Print what a process says, each line with its name before it."""
        for line in lines:
            if role.name == "worker 0":
                found = re.search(r"Run folder: (.*)$", line)
                self.folder = found[1] if found else self.folder
            if not self._quiet:
                print(f"[{role.name}] {line}", end="", flush=True)

    def supervise(self, stop):
        """Wait until all workers are done; raise when anything else happens first."""
        told = False
        while any(role.kind == "worker" for role in self.running):
            if stop.signum and not told:
                told = True
                self._tell_first_worker(stop.signum)
            for role, process in list(self.running.items()):
                if process.poll() is not None:
                    self._take_leave(role, process.returncode, stop)
            time.sleep(0.1)

    def _tell_first_worker(self, signum):
        """Pass on a signal; the first worker saves the run and ends."""
        for role, process in self.running.items():
            if role.name == "worker 0":
                with contextlib.suppress(OSError):
                    process.stdin.write(chr(signum))
                    process.stdin.flush()

    def _take_leave(self, role, status, stop):
        """Note that a process has ended; raise unless it was done."""
        self._readers[role].join(SECONDS_TO_END)
        if status == 0:  # the servers are done when the last worker is about to end
            del self.running[role]
            return
        self._quiet = True  # what the others say now is of no interest
        stop.raise_if_requested(f"stopped; {self._how_to_go_on()}")
        died = f"{role.name} on {role.host} {cause(status)}; all others were ended"
        if status == 2:
            raise InputError(died)
        raise RunError(f"{died}; {self._how_to_go_on()}")

    def _how_to_go_on(self):
        if not self.folder:
            return "nothing has been saved yet"
        command = ["python", "-m", "d2l_alexnet.distributed.launch", *self.again, "--", "--resume", self.folder]
        return f"to go on: {shlex.join(command)}"

    def __enter__(self):
        return self

    def __exit__(self, kind, *_):
        """End what is left: the servers by themselves if the workers are done, else all at once."""
        deadline = time.monotonic() + (SECONDS_TO_END if kind is None else 0)
        for process in self.running.values():
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(max(0, deadline - time.monotonic()))
        for process in self.running.values():
            with contextlib.suppress(OSError):
                process.stdin.close()  # which ends it, wherever it is
        for process in self.running.values():
            try:
                process.wait(SECONDS_TO_END)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
        for reader in self._readers.values():
            reader.join(SECONDS_TO_END)


def cause(status):
    """Say how a process ended, from what its exit status is here or through a shell."""
    signum = -status if status < 0 else status - 128
    if signum in set(signal.Signals):
        return f"was killed by {signal.Signals(signum).name}"
    return f"ended with status {status}" + (", as ssh does" if status == 255 else "")


def main(argv=None):
    """Read the command line and launch."""
    parser = cli.Parser("distributed.launch", "Train with several processes, here or on several machines.")
    parser.epilog = EPILOG
    parser.add_argument("--workers", type=cli.number(int, 1), default=2, metavar="N", help="that train")
    parser.add_argument(
        "--servers", type=cli.number(int, 1), default=1, metavar="N", help="that add up gradients"
    )
    parser.add_argument("--hosts", metavar="FILE", help="a host a line; this machine if not given")
    parser.add_argument(
        "--port",
        type=cli.number(int, 1, 65535),
        metavar="N",
        help="the scheduler's; one that is free here if not given",
    )
    parser.add_argument(
        "--ssh",
        default=SSH,
        metavar="COMMAND",
        help="runs another command on a host, whose name comes first",
    )
    parser.add_argument("arguments", nargs="*", metavar="-- ...", help="what to train")
    launch(**vars(parser.parse_args(argv)))


if __name__ == "__main__":
    cli.run(main)
