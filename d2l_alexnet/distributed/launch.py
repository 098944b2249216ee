"""Train with several processes, on this machine or on several.

``python -m d2l_alexnet.distributed.launch --workers 2 -- --recipe quick`` starts a scheduler, a
server and two workers of MXNet's parameter server. When a process dies, plain MXNet waits for it
forever. Here all processes end within seconds. One line names the dead process and says how to
resume the run.
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
from typing import IO, Iterator, Sequence

from d2l_alexnet import cli
from d2l_alexnet.distributed import rendezvous
from d2l_alexnet.errors import InputError, RunError
from d2l_alexnet.options import RESUMED_WITH, DistributedOptions, RunOptions
from d2l_alexnet.runtime.cores import WORKERS_ON_HOST, usable_cores
from d2l_alexnet.runtime.signals import StopRequest

LOCALHOST = "localhost"
SSH = "ssh -o BatchMode=yes -o ServerAliveInterval=10"  # seconds
TRAIN = [sys.executable, "-m", "d2l_alexnet.train"]
SERVE = [sys.executable, "-m", "d2l_alexnet.distributed.server"]
FORWARDED = ("DMLC_", "MXNET_", "PS_")  # prefixes of the variables sent to other hosts
SECONDS_TO_END = 10  # how long to wait for a process that should end
EPILOG = """The arguments after -- go to python -m d2l_alexnet.train, with --kvstore dist_sync.
--batch-size is the total over all workers. ssh must reach the other hosts without a password. The
current folder and this Python must have the same paths on every host. After Ctrl-C,
the first worker saves the run, and then all processes end. A second Ctrl-C ends them at once."""


@dataclass(frozen=True)
class Role:
    """One process of a distributed run.

    Parameters
    ----------
    kind : str
        scheduler, server or worker.
    number : int
        Its number among the processes of its kind, counted from 0; for a worker, its rank.
    host : str
        The host that it runs on.
    """

    kind: str
    number: int
    host: str

    @property
    def name(self) -> str:
        """The name before each line of its output."""
        return self.kind if self.kind == "scheduler" else f"{self.kind} {self.number}"


def launch(
    workers: int,
    servers: int,
    arguments: Sequence[str],
    hosts: str | Path | None = None,
    port: int | None = None,
    ssh: str = SSH,
) -> None:
    """Start all processes of a distributed run, and end them together.

    Parameters
    ----------
    workers, servers : int
        Numbers of processes.
    arguments : list of str
        Arguments of `d2l_alexnet.train`.
    hosts : path, optional
        A file with one host per line. Workers and servers are assigned to the hosts in turn, the
        scheduler to the first host. This machine if not given.
    port : int, optional
        Port of the scheduler; a free one of this machine if not given.
    ssh : str
        The command that runs another command on a host.

    Raises
    ------
    InputError
        For bad input to this function or to the training.
    RunError
        When a process has died.
    Interrupted
        After Ctrl-C or SIGTERM. The run can be resumed.
    """
    if any(argument.startswith("--k") for argument in arguments):  # argparse takes the beginning
        raise InputError("--kvstore: every worker gets dist_sync; omit it")
    names = read_hosts(hosts) if hosts else [LOCALHOST]
    settings = {
        rendezvous.HOST: rendezvous.address("--hosts", names[0]),
        rendezvous.WORKERS: str(workers),
        rendezvous.SERVERS: str(servers),
    }
    options = ["--workers", str(workers), "--servers", str(servers)]
    if hosts:
        options += ["--hosts", str(hosts)] + (["--ssh", ssh] if ssh != SSH else [])
    with reserved_port() as free, StopRequest() as stop, Job(options, arguments) as job:
        settings[rendezvous.PORT] = str(port or free)
        roles = assign_hosts(workers, servers, names)
        for role in roles:
            command, variables = command_of(role, arguments)
            variables.update(settings)
            if hosts:
                neighbors = [each for each in roles if each.host == role.host]
                sharing = sum(each.kind == "worker" for each in neighbors)
                variables[WORKERS_ON_HOST] = str(max(1, sharing))
                job.start(role, *over_ssh(ssh.split(), role.host, command, variables))
            else:
                variables["OMP_NUM_THREADS"] = str(threads_per_worker(workers))
                job.start(role, command, variables)
        job.supervise(stop)


def assign_hosts(workers: int, servers: int, hosts: Sequence[str]) -> list[Role]:
    """Assign the processes of a run to the hosts in turn, the scheduler to the first host."""
    kinds = (("scheduler", 1), ("server", servers), ("worker", workers))
    return [Role(kind, n, hosts[n % len(hosts)]) for kind, number in kinds for n in range(number)]


def read_hosts(path: str | Path) -> list[str]:
    """Read a host file: one name or address per line; # starts a comment.

    Raises
    ------
    InputError
        When the file names no host, or a host cannot be found.
    """
    try:
        lines = Path(path).read_text().splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"--hosts {path}: cannot read it ({error})") from error
    hosts = [line.partition("#")[0].strip() for line in lines]
    hosts = [host for host in hosts if host]
    if not hosts:
        raise InputError(f"--hosts {path}: the file contains no host")
    for host in hosts:
        rendezvous.address("--hosts", host)
    return hosts


@contextlib.contextmanager
def reserved_port() -> Iterator[int]:
    """Find a free port of this machine.

    While the block runs, the system gives this port to no program that asks for a free one.
    The scheduler can listen there all the same: it sets the option SO_REUSEADDR too.
    """
    with socket.socket() as keeper:
        keeper.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        keeper.bind(("", 0))
        yield keeper.getsockname()[1]


def command_of(role: Role, arguments: Sequence[str]) -> tuple[list[str], dict[str, str]]:
    """Return the command line of a process, and environment variables to set for it."""
    variables = {
        rendezvous.ROLE: role.kind,
        rendezvous.NODE: rendezvous.address("--hosts", role.host),
        rendezvous.CONTROL_PIPE: "1",
        "PYTHONUNBUFFERED": "1",
    }
    if role.kind != "worker":
        return SERVE, variables
    variables[rendezvous.RANK] = str(role.number)
    return [*TRAIN, "--kvstore", "dist_sync", *arguments], variables


def over_ssh(
    ssh: Sequence[str], host: str, command: Sequence[str], variables: dict[str, str]
) -> tuple[list[str], dict[str, str]]:
    """Return the command line that runs a command on another host, in the same folder.

    Returns
    -------
    command : list of str
    variables : dict
        Empty: the variables are in the command line.
    """
    given = {name: os.environ[name] for name in os.environ if name.startswith(FORWARDED)}
    settings = [f"{name}={value}" for name, value in {**given, **variables}.items()]
    env = shlex.join(["env", *settings, *command])
    script = f"cd {shlex.quote(str(Path.cwd()))} && {env}; exit $?"
    return [*ssh, host, f"sh -c {shlex.quote(script)}"], {}


def threads_per_worker(workers: int) -> int:
    """Divide the threads of this machine equally among its workers."""
    threads, *_ = os.environ["OMP_NUM_THREADS"].split(",")  # the first level of a nested list
    return max(1, min(int(threads), usable_cores() // workers))


class Job:
    """The processes of a distributed run.

    Parameters
    ----------
    options : list of str
        The options of the launcher that resume the run with the same processes.
    arguments : list of str
        The arguments of the training.

    Attributes
    ----------
    folder : str or None
        The run folder, once the first worker has printed it.
    running : dict of Role to subprocess.Popen
        The processes that have not ended.
    """

    def __init__(self, options: Sequence[str], arguments: Sequence[str]) -> None:
        self.options, self.arguments = options, arguments
        self.folder: str | None = None
        self.running: dict[Role, subprocess.Popen[str]] = {}
        self._readers: dict[Role, threading.Thread] = {}
        self._quiet = False
        self._output_error = ""

    def start(self, role: Role, command: Sequence[str], variables: dict[str, str]) -> None:
        """Start a process, with these variables added to the environment."""
        try:
            process = subprocess.Popen(
                command,
                env={**os.environ, **variables},
                stdin=subprocess.PIPE,  # control pipe: see `d2l_alexnet.distributed.rendezvous`
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # a terminal sends Ctrl-C to the launcher only
                text=True,
                errors="replace",
            )
        except OSError as error:
            raise InputError(f"{command[0]}: cannot run it ({error.strerror})") from error
        self.running[role] = process
        self._readers[role] = threading.Thread(target=self._forward, args=(role, process.stdout))
        self._readers[role].start()

    def _forward(self, role: Role, lines: IO[str]) -> None:
        """Print the output of a process, with its name before each line."""
        for line in lines:
            if role.name == "worker 0":
                found = re.search(r"Run folder: (.*)$", line)
                self.folder = found[1] if found else self.folder
            if not self._quiet:  # else it is only read, or the process would wait for a reader
                try:
                    print(f"[{role.name}] {line}", end="", flush=True)
                except (OSError, RunError) as error:
                    self._quiet, self._output_error = True, str(error)

    def supervise(self, stop: StopRequest) -> None:
        """Wait until all workers have finished; raise if a process fails or a stop is requested.

        If the output cannot be written, as after ``| head -1``, all end as after a signal.
        """
        signaled = False
        while any(role.kind == "worker" for role in self.running):
            signum = stop.signum or (signal.SIGTERM if self._output_error else None)
            if signum and not signaled:
                signaled = True
                self._signal_first_worker(signum)
            for role, process in list(self.running.items()):
                if process.poll() is not None:
                    self._handle_exit(role, process.returncode, stop)
            time.sleep(0.1)
        if self._output_error:
            raise RunError(self._output_error)

    def _signal_first_worker(self, signum: int) -> None:
        """Forward a signal to the first worker, which saves the run and ends."""
        for role, process in self.running.items():
            if role.name == "worker 0" and process.stdin:
                with contextlib.suppress(OSError):
                    process.stdin.write(chr(signum))
                    process.stdin.flush()

    def _handle_exit(self, role: Role, status: int, stop: StopRequest) -> None:
        """Remove a process that has finished; raise if it has failed."""
        self._readers[role].join(SECONDS_TO_END)
        if status == 0:  # servers can finish just before the last worker
            del self.running[role]
            return
        self._quiet = True  # the other processes fail too, because of this one
        stop.raise_if_requested(f"stopped; {self._how_to_resume()}")
        if self._output_error:
            raise RunError(f"{self._output_error}; {self._how_to_resume()}")
        died = f"{role.name} on {role.host} {describe_status(status)}; all others were ended"
        if status == 2:
            raise InputError(died)
        raise RunError(f"{died}; {self._how_to_resume()}")

    def _how_to_resume(self) -> str:
        if not self.folder:
            return "nothing has been saved yet"
        parser = cli.Parser("train", "")
        cli.add_flags(parser, RunOptions, *RESUMED_WITH)
        cli.add_flags(parser, DistributedOptions, "patience")
        given = vars(parser.parse_known_args(self.arguments)[0])
        flags = cli.flags_of(cli.pop_options(given, RunOptions), *RESUMED_WITH)
        flags += cli.flags_of(cli.pop_options(given, DistributedOptions), "patience")
        launch = ["python", "-m", "d2l_alexnet.distributed.launch", *self.options]
        return f"to resume: {shlex.join([*launch, '--', '--resume', self.folder, *flags])}"

    def __enter__(self) -> Job:
        return self

    def __exit__(self, kind: type | None, *_: object) -> None:
        """Wait for the servers to end if the workers have finished; else end all processes."""
        deadline = time.monotonic() + (SECONDS_TO_END if kind is None else 0)
        for process in self.running.values():
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(max(0, deadline - time.monotonic()))
        for process in self.running.values():
            with contextlib.suppress(OSError):
                if process.stdin:
                    process.stdin.close()  # ends the process, also on another host
        for process in self.running.values():
            try:
                process.wait(SECONDS_TO_END)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
        for reader in self._readers.values():
            reader.join(SECONDS_TO_END)


def describe_status(status: int) -> str:
    """Describe how a process ended, from its exit status or the exit status of its shell."""
    signum = -status if status < 0 else status - 128
    if signum in set(signal.Signals):
        return f"was killed by {signal.Signals(signum).name}"
    notes = {127: " (no such program on that host)", 255: " (usually ssh itself failed)"}
    return f"ended with exit status {status}{notes.get(status, '')}"


def main(argv: Sequence[str] | None = None) -> None:
    """Read the command line and launch."""
    description = "Train with several processes, on this machine or on several."
    parser = cli.Parser("distributed.launch", description, EPILOG)
    for kind, default, task in (("workers", 2, "train"), ("servers", 1, "sum gradients")):
        text = f"number of processes that {task} (default: {default})"
        count = cli.number(int, minimum=1)
        parser.add_argument(f"--{kind}", default=default, type=count, metavar="N", help=text)
    parser.add_argument(
        "--hosts", metavar="FILE", help="file with one host per line; if not given, this machine"
    )
    text = "port of the scheduler; if not given, a free port"
    port = cli.number(int, minimum=1, maximum=65535)
    parser.add_argument("--port", type=port, metavar="N", help=text)
    parser.add_argument(
        "--ssh", default=SSH, metavar="COMMAND", help="command that starts a process on a host"
    )
    parser.add_argument(
        "arguments",
        nargs="*",
        metavar="-- ARGUMENTS",
        help="arguments of python -m d2l_alexnet.train",
    )
    launch(**vars(parser.parse_args(argv)))


if __name__ == "__main__":
    cli.run(main)
