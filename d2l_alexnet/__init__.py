"""The AlexNet lectures on MXNet Gluon.

Import this package before MXNet: it makes ``import mxnet`` work with current Python and NumPy, and
gives MXNet a thread for each core that the process may use.
"""

import sys
from pathlib import Path

from d2l_alexnet.runtime import supported

__version__ = "0.2.0.dev0"

try:
    if supported.unsupported_reason():  # before imports that fail on an old Python
        raise ImportError(supported.unsupported_reason(), name=__name__)
    from d2l_alexnet.runtime import bootstrap

    bootstrap.prepare()
except ImportError as error:
    if Path(sys.argv[0]).name == "d2l-alexnet":  # one line, as `python -m d2l_alexnet` prints
        sys.exit(f"d2l_alexnet: {error}")
    raise
