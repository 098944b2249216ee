"""Check the settings by which the processes of a distributed run find each other.

ps-lite, MXNet's library for several machines, reads these settings from environment variables. It
does not check them: with a wrong setting it aborts or waits forever. Servers and schedulers only
import MXNet. The import returns when the run is over.
"""

from __future__ import annotations

import importlib.abc
import importlib.util
import os
import signal
import socket
import sys
import threading
from pathlib import Path
from typing import Any, Mapping

from d2l_alexnet.errors import InputError

ROLE, HOST, PORT = "DMLC_ROLE", "DMLC_PS_ROOT_URI", "DMLC_PS_ROOT_PORT"  # the scheduler's
WORKERS, SERVERS = "DMLC_NUM_WORKER", "DMLC_NUM_SERVER"
NODE, RANK = "DMLC_NODE_HOST", "DMLC_RANK"  # optional: address of this process, rank of a worker
CONTROL_PIPE = "D2L_CONTROL_PIPE"  # set if standard input is a pipe from the launcher
SERVER_MODULE = "mxnet.kvstore.kvstore_server"  # MXNet's own; ours is used in its place
ROLES = ("scheduler", "server", "worker")
INTERFACE = "DMLC_INTERFACE"  # optional, in the place of NODE: the name of a network interface
KUBERNETES = "DMLC_USE_KUBERNETES"  # if not 0, the scheduler listens at all its addresses
HEARTBEAT = {"PS_HEARTBEAT_INTERVAL": "2"}  # seconds; ps-lite sends none by default


def prepare() -> None:
    """Prepare a process of a distributed run. Importing the package in such a process calls this.

    Bad settings end the process with one line and status 2.
    """
    try:
        check(os.environ)
    except InputError as error:
        print(f"d2l_alexnet: {error}", file=sys.stderr)
        raise SystemExit(2) from None
    for name in (HOST, NODE):
        if os.environ.get(name):  # ps-lite can listen only where it is given an address
            os.environ[name] = _address(name, os.environ[name])
    for name, value in HEARTBEAT.items():
        os.environ.setdefault(name, value)
    if os.environ[ROLE] != "worker":
        sys.meta_path.insert(0, _ServerFinder())
    if CONTROL_PIPE in os.environ:
        threading.Thread(target=_follow_control_pipe, daemon=True).start()


def check(environment: Mapping[str, str]) -> None:
    """Check the settings of a process.

    Parameters
    ----------
    environment : mapping of str to str

    Raises
    ------
    InputError
        When a setting is missing or wrong. The message names the variable.
    """
    role = environment.get(ROLE)
    if role not in ROLES:
        raise InputError(f"{ROLE}: {_found(role)}, should be {', '.join(ROLES)}")
    port = _whole(environment, PORT, 1, 65535)
    workers = _whole(environment, WORKERS, 1)
    _whole(environment, SERVERS, 1)
    if RANK in environment:
        _whole(environment, RANK, 0, workers - 1)
    scheduler = _address(HOST, environment.get(HOST))
    node, interface = environment.get(NODE), environment.get(INTERFACE)
    if node:
        _bind(f"{NODE} {node}", _address(NODE, node), 0)
    elif interface and interface not in [name for _, name in socket.if_nameindex()]:
        raise InputError(f"{INTERFACE}: {_found(interface)}, should be a network interface")
    if role == "scheduler":
        anywhere = environment.get(KUBERNETES, "0") != "0"
        setting = f"{HOST} {environment[HOST]}, {PORT} {port}"
        _bind(setting, "" if anywhere else scheduler, port)


def _found(value: str | None) -> str:
    return "not set" if value is None else f"found {value!r}"


def _whole(
    environment: Mapping[str, str], name: str, minimum: int, maximum: int | None = None
) -> int:
    text = environment.get(name)
    span = f"of at least {minimum}" if maximum is None else f"from {minimum} to {maximum}"
    if not (text and text.isdecimal() and minimum <= int(text) <= (maximum or int(text))):
        raise InputError(f"{name}: {_found(text)}, should be a whole number {span}")
    return int(text)


def _address(name: str, host: str | None) -> str:
    """Find the IPv4 address of a host."""
    try:
        return str(socket.getaddrinfo(host or "no host", None, socket.AF_INET)[0][4][0])
    except OSError as error:
        raise InputError(f"{name}: {_found(host)}, should be a host ({error.strerror})") from error


def _bind(setting: str, host: str, port: int) -> None:
    """Make sure that this machine can listen at an address and port."""
    try:
        with socket.socket() as trial:
            trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            trial.bind((host, port))
    except OSError as error:
        raise InputError(f"{setting}: cannot listen there ({error.strerror})") from error


class _ServerFinder(importlib.abc.MetaPathFinder):
    """Let Python import our server when MXNet imports its own."""

    def find_spec(self, name: str, path: Any, target: Any = None) -> Any:
        if name == SERVER_MODULE:
            server = Path(__file__).with_name("server.py")
            return importlib.util.spec_from_file_location(name, server)
        return None


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
