"""The AlexNet lectures, running again on MXNet Gluon.

Importing this package makes a plain ``import mxnet`` work on today's Python and NumPy and gives
MXNet every core that the process may use, so import it first.
"""

from d2l_alexnet import runtime

__version__ = "0.1.0"

runtime.prepare()
