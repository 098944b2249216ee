"""The AlexNet lectures, running again on MXNet Gluon.

Importing this package makes a plain ``import mxnet`` work on today's Python and NumPy and gives
MXNet every core that the process may use, so import it first.
"""

import warnings

from d2l_alexnet import runtime

__version__ = "0.1.0"

runtime.prepare()

# For `python -m d2l_alexnet.runtime`: it has to be imported before it can be run.
warnings.filterwarnings("ignore", "'d2l_alexnet.runtime' found in sys.modules", RuntimeWarning)
