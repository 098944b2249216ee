"""Start commands from a process that has already imported MXNet.

Importing MXNet takes longer than what most tests then do. `Server` imports it once. For each
command it forks a child, which is a process of its own: with its own process group, output, current
folder and exit status, to be killed like any other.
"""

from __future__ import annotations

import array
import contextlib
import json
import os
import runpy
import select
import signal
import socket
import subprocess
import sys
import time
from multiprocessing.pool import ThreadPool
from pathlib import Path

MODULES = "d2l_alexnet.train", "d2l_alexnet.evaluate"
LONGEST = 2**20  # bytes of a request


class Server:
    """The process that forks; close it at the end."""

    def __init__(self):
        self._socket, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, __file__, str(theirs.fileno())], pass_fds=[theirs.fileno()]
            )

    def start(self, arguments, cwd=None, separate_errors=False):
        """Start ``python arguments``, which are -c and code or -m and a module, and more."""
        out, out_there = os.pipe()
        err, err_there = os.pipe() if separate_errors else (None, os.dup(out_there))
        status, status_there = os.pipe()
        request = dict(arguments=[*map(str, arguments)], cwd=str(cwd or Path.cwd()))
        descriptors = array.array("i", [out_there, err_there, status_there])
        self._socket.sendmsg(
            [json.dumps(request).encode()],
            [(socket.SOL_SOCKET, socket.SCM_RIGHTS, descriptors)],
        )
        for descriptor in descriptors:
            os.close(descriptor)
        return Command(out, err, os.fdopen(status))

    def close(self):
        """End the server; its children go on."""
        self._socket.close()
        self._process.wait()


class Command:
    """A command that a `Server` has started, with the interface of `subprocess.Popen`."""

    def __init__(self, out, err, status):
        self.stdout, self.stderr = os.fdopen(out), os.fdopen(err) if err is not None else None
        self._status, self.returncode = status, None
        self.pid = int(status.readline())

    def poll(self):
        """Give the exit status if it has ended."""
        if self.returncode is None and select.select([self._status], [], [], 0)[0]:
            self.returncode = int(self._status.readline())
        return self.returncode

    def wait(self, timeout=None):
        """Wait for its end; give its exit status, or minus the signal that killed it."""
        deadline = time.monotonic() + (timeout or 600)
        while self.poll() is None:
            left = deadline - time.monotonic()
            if left <= 0:
                raise subprocess.TimeoutExpired(str(self.pid), timeout)
            select.select([self._status], [], [], left)
        return self.returncode

    def communicate(self, timeout=None):
        """Read all that it prints, and wait for its end."""
        return read_to_the_end(self, timeout)

    def send_signal(self, signum):
        """Send it a signal."""
        if self.poll() is None:
            os.kill(self.pid, signum)

    def kill(self):
        """Send it SIGKILL."""
        self.send_signal(signal.SIGKILL)


def read_to_the_end(process, timeout=None):
    """Read all that a process prints and wait for its end; give both texts.

    `Popen.communicate` loses the lines that `readline` has read ahead.
    """
    files = [file for file in (process.stdout, process.stderr) if file]
    with ThreadPool(len(files)) as pool:  # or it waits for a pipe that nobody reads
        texts = pool.map_async(lambda file: file.read(), files).get(timeout or 600)
    process.wait()
    return (*texts, "")[:2]


def serve(requests):
    """Fork a child for each request; return its arguments in the child, nothing at the end."""
    children = {}
    while True:
        if select.select([requests], [], [], 0.01 if children else None)[0]:
            size = array.array("i").itemsize
            data, ancillary, *_ = requests.recvmsg(LONGEST, socket.CMSG_SPACE(3 * size))
            if not data:
                return None
            descriptors = array.array("i", ancillary[0][2])
            pid = os.fork()
            if not pid:
                requests.close()
                return become(json.loads(data), *descriptors)
            children[pid] = descriptors[2]
            os.write(descriptors[2], f"{pid}\n".encode())
            os.close(descriptors[0])
            os.close(descriptors[1])
        with contextlib.suppress(ChildProcessError):
            pid, status = os.waitpid(-1, os.WNOHANG)
            if pid:
                code = -os.WTERMSIG(status) if os.WIFSIGNALED(status) else os.WEXITSTATUS(status)
                with contextlib.suppress(BrokenPipeError):  # nobody waits for it
                    os.write(children[pid], f"{code}\n".encode())
                os.close(children.pop(pid))


def become(request, out, err, status):
    """Make this process, a child, the one that was asked for."""
    os.setsid()
    os.close(status)
    os.chdir(request["cwd"])
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    for descriptor, standard in ((out, 1), (err, 2)):
        os.dup2(descriptor, standard)
        os.close(descriptor)
    sys.stdout, sys.stderr = os.fdopen(1, "w"), os.fdopen(2, "w", buffering=1)
    # Also where a shell or nohup has them ignored.
    for signum in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(signum, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    return request["arguments"]


def run(kind, what, *arguments):
    """Do as ``python kind what arguments`` does."""
    sys.argv = [kind, *arguments]
    sys.path[0] = ""
    if kind == "-m":
        sys.modules.pop(what, None)
        runpy.run_module(what, run_name="__main__", alter_sys=True)
    else:
        exec(compile(what, "<string>", "exec"), dict(__name__="__main__"))


if __name__ == "__main__":
    for name in MODULES:
        __import__(name)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a Ctrl-C is for pytest, which closes the socket
    command = serve(socket.socket(fileno=int(sys.argv[1])))
    if command:
        run(*command)
