"""The scheduler and the servers of a distributed run, in the place of MXNet's own module.

MXNet's server unpickles a command from the network, and a pickle can run any code. The command is
meant to bring the optimizer to the server. Here workers update the weights, so no such command is
ever sent. This server refuses it.

`d2l_alexnet.distributed.rendezvous.prepare` lets Python import this file as
`mxnet.kvstore.kvstore_server`. As with MXNet's own module, the import runs the server.
"""

from __future__ import annotations

import ctypes
import sys

from mxnet.base import _LIB, check_call
from mxnet.kvstore.base import create

from d2l_alexnet.distributed.rendezvous import SERVER_MODULE

CONTROLLER = ctypes.CFUNCTYPE(None, ctypes.c_int, ctypes.c_char_p, ctypes.c_void_p)

__all__: list[str] = []  # for MXNet, which imports all names


def refuse(command: int, body: bytes, _: object) -> None:
    """Refuse a command, in one line, without reading its body."""
    print(
        f"d2l_alexnet: refused command {command} from the network, which can hold code; "
        "this run sends none, so another program can reach this server",
        flush=True,
    )


def serve() -> None:
    """Serve until the run is over, and end the process."""
    kvstore = create("dist")
    check_call(_LIB.MXKVStoreRunServer(kvstore.handle, CONTROLLER(refuse), None))
    sys.exit()


if __name__ == SERVER_MODULE:
    serve()
