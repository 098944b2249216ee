"""Check the settings by which the processes of a distributed run find each other.

ps-lite, MXNet's library for several machines, reads these settings from environment variables. It
does not check them: with a wrong setting it aborts or waits forever.
"""

from __future__ import annotations

import math
import os
import signal
import socket
import threading
from typing import Mapping, Sequence

from d2l_alexnet.errors import InputError

ROLE, HOST, PORT = "DMLC_ROLE", "DMLC_PS_ROOT_URI", "DMLC_PS_ROOT_PORT"  # the scheduler's
WORKERS, SERVERS = "DMLC_NUM_WORKER", "DMLC_NUM_SERVER"
NODE, RANK = "DMLC_NODE_HOST", "DMLC_RANK"  # optional: address of this process, rank of a worker
CONTROL_PIPE = "D2L_CONTROL_PIPE"  # set if standard input is a pipe from the launcher
ROLES = ("scheduler", "server", "worker")
INTERFACE = "DMLC_INTERFACE"  # optional, in the place of NODE: the name of a network interface
KUBERNETES = "DMLC_USE_KUBERNETES"  # if not 0, the scheduler listens at all its addresses
HEARTBEAT = {"PS_HEARTBEAT_INTERVAL": "2"}  # seconds; ps-lite sends none by default


def prepare(*roles: str) -> None:
    """Prepare this process for taking part in a distributed run.

    Parameters
    ----------
    *roles : str
        The roles that it can take.

    Raises
    ------
    InputError
        When a setting is missing or wrong. The message names the variable.
    """
    check(os.environ, roles)
    for name in (HOST, NODE):
        if os.environ.get(name):  # ps-lite can listen only where it is given an address
            os.environ[name] = address(name, os.environ[name])
    for name, value in HEARTBEAT.items():
        os.environ.setdefault(name, value)
    for signum in (signal.SIGTERM, signal.SIGHUP):
        if callable(signal.getsignal(signum)):  # ps-lite waits in C++, where Python raises nothing
            signal.signal(signum, signal.SIG_DFL)
    if CONTROL_PIPE in os.environ:
        threading.Thread(target=_follow_control_pipe, daemon=True).start()


def check(environment: Mapping[str, str], roles: Sequence[str] = ROLES) -> None:
    """Check the settings of a process.

    Parameters
    ----------
    environment : mapping of str to str
    roles : sequence of str
        The roles that the process can take.

    Raises
    ------
    InputError
        When a setting is missing or wrong. The message names the variable.
    """
    role = environment.get(ROLE)
    if role not in roles:
        raise InputError(f"{ROLE}: {_found(role)}, should be {', '.join(roles)}")
    port = _whole(environment, PORT, 1, 65535)
    workers = _whole(environment, WORKERS, 1)
    _whole(environment, SERVERS, 1)
    if RANK in environment:
        _whole(environment, RANK, 0, workers - 1)
    scheduler = address(HOST, environment.get(HOST))
    node, interface = environment.get(NODE), environment.get(INTERFACE)
    if node:
        _bind(f"{NODE} {node}", address(NODE, node), 0)
    elif interface and interface not in [name for _, name in socket.if_nameindex()]:
        raise InputError(f"{INTERFACE}: {_found(interface)}, should be a network interface")
    if role == "scheduler":
        anywhere = environment.get(KUBERNETES, "0") != "0"
        setting = f"{HOST} {environment[HOST]}, {PORT} {port}"
        _bind(setting, "" if anywhere else scheduler, port)


def _found(value: str | None) -> str:
    return "not set" if value is None else f"found {value!r}"


def _whole(
    environment: Mapping[str, str], name: str, minimum: int, maximum: float = math.inf
) -> int:
    text = environment.get(name)
    span = f"of at least {minimum}" if maximum == math.inf else f"from {minimum} to {maximum}"
    if not (text and text.isdecimal() and minimum <= int(text) <= maximum):
        raise InputError(f"{name}: {_found(text)}, should be a whole number {span}")
    return int(text)


def address(name: str, host: str | None) -> str:
    """Find the IPv4 address of a host.

    Parameters
    ----------
    name : str
        The setting that names the host.
    host : str or None
        None if the setting is missing.

    Raises
    ------
    InputError
        When there is no such host.
    """
    try:
        return str(socket.getaddrinfo(host or "no host", None, socket.AF_INET)[0][4][0])
    except (OSError, ValueError) as error:  # ValueError: it cannot be a name, such as a..b
        why = getattr(error, "strerror", error)
        raise InputError(f"{name}: {_found(host)}, should be a host ({why})") from error


def _bind(setting: str, host: str, port: int) -> None:
    """Make sure that this machine can listen at an address and port."""
    try:
        with socket.socket() as trial:
            trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            trial.bind((host, port))
    except OSError as error:
        raise InputError(f"{setting}: cannot listen there ({error.strerror})") from error


def _follow_control_pipe() -> None:
    """Send this process each signal that arrives as a byte on standard input.

    The input ends when the launcher ends. Then this function kills the process group, so that no
    process keeps running on any machine.
    """
    while True:
        signum = os.read(0, 1)
        if not signum:
            os.killpg(0, signal.SIGKILL)
        os.kill(os.getpid(), signum[0])
