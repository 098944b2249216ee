"""Give MXNet 1.9.1 and GluonCV the modules that they were written for.

NumPy 1.24 and NumPy 2 removed names that both packages read, some at import and some later. Python
3.14 no longer starts processes by fork. ONNX 1.19 removed `onnx.mapping`. Putting the names back
into NumPy would change it for everyone: SciPy and others ask NumPy which names it has. So only the
modules of the two packages get a changed NumPy. `install` makes each import statement in these
modules return an `Overlay`.
"""

from __future__ import annotations

import builtins
import functools
import importlib.machinery
import multiprocessing
import sys
import types
from typing import Any, Callable, Mapping, Sequence

import numpy as np

PACKAGES = "mxnet", "gluoncv"
# The modules that turn the settings of an operator into text for the compiled library.
WRITERS = "mxnet._ctypes.ndarray", "mxnet._ctypes.symbol"


class Overlay(types.ModuleType):
    """A module with other values for some names; all other names are the module's own.

    Parameters
    ----------
    module : module
    names : mapping of str to object
        The other values.
    """

    def __init__(self, module: types.ModuleType, names: Mapping[str, Any]) -> None:
        super().__init__(module.__name__, module.__doc__)
        self.__dict__.update(names)
        self._module = module

    def __getattr__(self, name: str) -> Any:
        return getattr(self._module, name)

    def __dir__(self) -> list[str]:
        return dir(self._module)


def removed_from_numpy() -> dict[str, Any]:
    """Return what MXNet and GluonCV read from NumPy and this NumPy does not have.

    Returns
    -------
    dict of str to object
        The value that the last NumPy with this name gave it. The functions for finance left NumPy
        in 1.20. MXNet only lists them, so they raise an error if they are called.
    """
    # fmt: off
    values: dict[str, Any] = dict(
        bool=bool, int=int, float=float, object=object,  # removed in 1.24
        PZERO=0.0, NZERO=-0.0, PINF=np.inf, NINF=-np.inf, Inf=np.inf, NAN=np.nan, NaN=np.nan,
        alltrue=np.all, sometrue=np.any, product=np.prod, cumproduct=np.cumprod, round_=np.round,
        in1d=_in1d,
        msort=_msort,
        trapz=getattr(np, "trapezoid", None),  # its new name in NumPy 2
        compat=types.SimpleNamespace(basestring=str),
        **dict.fromkeys(("mirr", "npv", "pmt", "ppmt", "pv", "rate"), _moved_to_numpy_financial),
    )
    # fmt: on
    return {name: value for name, value in values.items() if name not in vars(np)}


def _in1d(ar1: Any, ar2: Any, assume_unique: bool = False, invert: bool = False) -> np.ndarray:
    return np.isin(np.ravel(ar1), ar2, assume_unique, invert)


def _msort(a: Any) -> np.ndarray:
    return np.sort(a, axis=0)


def _moved_to_numpy_financial(*_: Any, **__: Any) -> None:
    raise RuntimeError("NumPy 1.20 moved this function to the package numpy-financial")


def _started_by_fork() -> dict[str, Any]:
    fork = multiprocessing.get_context("fork")
    names = ("Pool", "Process", "Queue", "SimpleQueue", "get_context")
    return {name: getattr(fork, name) for name in names}


def _removed_from_onnx() -> dict[str, Any]:
    from onnx import helper

    kinds = "bool float16 float32 float64 int8 int16 int32 int64 uint8 uint16 uint32 uint64"
    numbers = {kind: helper.np_dtype_to_tensor_dtype(kind) for kind in map(np.dtype, kinds.split())}
    mapping = types.SimpleNamespace(
        NP_TYPE_TO_TENSOR_TYPE=numbers,
        TENSOR_TYPE_TO_NP_TYPE={number: kind for kind, number in numbers.items()},
    )
    return dict(mapping=mapping)


CHANGES: dict[str, Callable[[], dict[str, Any]]] = dict(
    numpy=removed_from_numpy, multiprocessing=_started_by_fork, onnx=_removed_from_onnx
)


@functools.lru_cache(maxsize=None)
def _overlay(module: types.ModuleType) -> Overlay:
    return Overlay(module, CHANGES[module.__name__]())


def _import(*arguments: Any, **named: Any) -> types.ModuleType:
    """Import a module as Python does; return its overlay if it has one."""
    module = builtins.__import__(*arguments, **named)
    return _overlay(module) if module.__name__ in CHANGES else module


# An import statement calls the function __import__ of its module's builtins.
BUILTINS = {**vars(builtins), "__import__": _import}


def operator_text(value: Any) -> str:
    """Write a setting of an operator as NumPy 1 wrote it.

    NumPy 2 writes the tuple of an ``np.int64`` as ``(np.int64(2),)``. MXNet's library reads
    ``(2,)`` only.
    """
    text = str(value)
    if "np." not in text:
        return text
    legacy: Any = "1.25"  # the types of NumPy 1 do not know it
    with np.printoptions(legacy=legacy):
        return str(value)


class _Loader(importlib.machinery.SourceFileLoader):
    """Load a module whose import statements return overlays."""

    def exec_module(self, module: types.ModuleType) -> None:
        vars(module)["__builtins__"] = BUILTINS
        if module.__name__ in WRITERS:
            vars(module)["str"] = operator_text
        super().exec_module(module)


class _Finder:
    """Find the modules of `PACKAGES` where Python finds them, for `_Loader`."""

    @staticmethod
    def find_spec(
        name: str, path: Sequence[str] | None, target: types.ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if name.partition(".")[0] not in PACKAGES:
            return None
        spec = importlib.machinery.PathFinder.find_spec(name, path, target)
        if spec and isinstance(spec.loader, importlib.machinery.SourceFileLoader):
            spec.loader = _Loader(name, spec.loader.path)
        return spec


def install() -> None:
    """Make ``import mxnet`` and ``import gluoncv`` use overlays from now on."""
    if _Finder not in sys.meta_path:
        sys.meta_path.insert(0, _Finder)
