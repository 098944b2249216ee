"""The AlexNet lectures, running again on MXNet Gluon.

Importing this package makes a plain ``import mxnet`` work on today's Python and NumPy and gives
MXNet every core that the process may use, so import it first.
"""

import os

from d2l_alexnet.distributed import rendezvous
from d2l_alexnet.runtime import bootstrap

__version__ = "0.1.0"

if rendezvous.ROLE in os.environ:  # one of the processes of a distributed run
    rendezvous.prepare()
bootstrap.prepare()
