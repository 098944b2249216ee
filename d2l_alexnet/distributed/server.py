"""The scheduler and the servers of a distributed run: ``python -m d2l_alexnet.distributed.server``.

It takes the place of MXNet's own server, which unpickles a command from the network, and a pickle
can run any code. The command is meant to bring the optimizer to the server. Here workers update the
weights, so no such command is ever sent. This server refuses it.
"""

from __future__ import annotations

import ctypes
import signal
from typing import Sequence

from mxnet.base import _LIB, check_call
from mxnet.kvstore import create

from d2l_alexnet import cli
from d2l_alexnet.distributed import rendezvous

CONTROLLER = ctypes.CFUNCTYPE(None, ctypes.c_int, ctypes.c_char_p, ctypes.c_void_p)


def refuse(command: int, body: bytes, _: object) -> None:
    """Refuse a command, in one line, without reading its body."""
    print(
        f"d2l_alexnet: refused command {command}, which can contain code; this run does not send "
        "it, so another program on the network can reach this server",
        flush=True,
    )


def main(argv: Sequence[str] | None = None) -> None:
    """Serve until the run is over."""
    description = "Run the scheduler or a server of a distributed run; DMLC_ROLE chooses which."
    cli.Parser("distributed.server", description).parse_args(argv)
    rendezvous.prepare("scheduler", "server")
    # Slurm and Kubernetes send it to all processes, and then the first worker saves the run. It
    # needs the servers for that.
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    kvstore = create("dist")
    check_call(_LIB.MXKVStoreRunServer(kvstore.handle, CONTROLLER(refuse), None))


if __name__ == "__main__":
    cli.run(main)
