"""The settings by which the processes of a distributed run find each other, before MXNet sees them.

MXNet's engine for many machines, ps-lite, reads them from the environment and believes them: with
a wrong one it aborts or waits for ever. Importing MXNet in a server or scheduler is all that such
a process does: that call returns when the run is over.
"""

from __future__ import annotations

import os
import signal
import socket
import sys
import threading

from d2l_alexnet.errors import InputError

ROLE, HOST, PORT = "DMLC_ROLE", "DMLC_PS_ROOT_URI", "DMLC_PS_ROOT_PORT"  # the latter: scheduler's
WORKERS, SERVERS = "DMLC_NUM_WORKER", "DMLC_NUM_SERVER"
NODE, RANK = "DMLC_NODE_HOST", "DMLC_RANK"  # optional: a process's own address; a worker's number
LEASH = "D2L_LEASH"  # set by the launcher
ROLES = ("scheduler", "server", "worker")
HEARTBEAT = {"PS_HEARTBEAT_INTERVAL": "2"}  # seconds; ps-lite sends none unless it is told to


def prepare():
    """Prepare a process of a distributed run, when the package is imported in one.

    Bad settings end it, in one line and with status 2: there is nothing that such a process could
    do otherwise.
    """
    try:
        check(os.environ)
    except InputError as error:
        print(f"d2l_alexnet: {error}", file=sys.stderr)
        raise SystemExit(2) from None
    for name, value in HEARTBEAT.items():
        os.environ.setdefault(name, value)
    if LEASH in os.environ:
        threading.Thread(target=_obey, daemon=True).start()


def check(environment):
    """Check a process's settings.

    Parameters
    ----------
    environment : mapping of str to str

    Raises
    ------
    InputError
        When one is missing or cannot be right; it names the variable.
    """
    role = environment.get(ROLE)
    if role not in ROLES:
        raise InputError(f"{ROLE}: {_found(role)}, should be {', '.join(ROLES)}")
    port = _whole(environment, PORT, 1, 65535)
    workers = _whole(environment, WORKERS, 1)
    _whole(environment, SERVERS, 1)
    if RANK in environment:
        _whole(environment, RANK, 0, workers - 1)
    _resolve(HOST, environment.get(HOST))
    node = environment.get(NODE, "")
    if node:
        _bind(f"{NODE} {node}", node, 0)
    if role == "scheduler":
        _bind(f"{PORT} {port}", node, port)


def _found(value):
    return "not set" if value is None else f"found {value!r}"


def _whole(environment, name, minimum, maximum=None):
    text = environment.get(name)
    span = f"from {minimum}" + (" up" if maximum is None else f" to {maximum}")
    if not (text or "").isdecimal() or not minimum <= int(text) <= (maximum or int(text)):
        raise InputError(f"{name}: {_found(text)}, should be a whole number {span}")
    return int(text)


def _resolve(name, host):
    """Make sure that a host has an address."""
    try:
        socket.getaddrinfo(host or "no host", None)
    except OSError as error:
        raise InputError(f"{name}: {_found(host)}, should be a host ({error.strerror})") from error


def _bind(what, host, port):
    """Make sure that one can listen at an address and port of this machine."""
    try:
        with socket.socket() as trial:
            trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            trial.bind((host, port))
    except OSError as error:
        raise InputError(f"{what}: cannot listen there ({error.strerror})") from error


def _obey():
    """Pass on the launcher's signals, each a byte on standard input; when that ends, end all.

    So nothing is left running on any machine when the launcher is gone, however it went.
    """
    while True:
        signum = os.read(0, 1)
        if not signum:
            os.killpg(0, signal.SIGKILL)
        os.kill(os.getpid(), signum[0])
