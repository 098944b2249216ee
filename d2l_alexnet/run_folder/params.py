"""Write MXNet's .params files, and read them with every size checked.

If MXNet cannot write a file, it gives no reason, and sometimes raises no error. It does not check
the sizes in a file that it reads, and crashes if the file is damaged. The format is a list of
arrays followed by a list of their names (`NDArray::Save` and `MXNDArraySave` in MXNet 1.9.1's C++).
It has no checksum. Ours is in the second number of the file, which MXNet does not read.
"""

from __future__ import annotations

import hashlib
import math
import reprlib
import struct
from pathlib import Path
from typing import Any, Iterator, Mapping, Sequence

import mxnet as mx
import numpy as np

from d2l_alexnet.errors import InputError, RunError

LIST_MAGIC, ARRAY_MAGIC, DENSE = 0x112, 0xF993FAC9, 0
HEADER = "<QQ"  # the magic number, and a number that MXNet writes as 0 and does not read
CPU = (1, 0)  # MXNet's type and number of the device
TYPES = [np.dtype(t) for t in ("<f4", "<f8", "<f2", "u1", "<i4", "i1", "<i8")]  # by MXNet's number


def read_params(path: str | Path) -> dict[str, np.ndarray]:
    """Read a .params file.

    Parameters
    ----------
    path : path

    Returns
    -------
    dict of str to numpy.ndarray

    Raises
    ------
    InputError
        When the file is damaged, or does not hold only dense, finite, named arrays.
    """
    try:
        reader = _Reader(Path(path).read_bytes())
        magic, checksum = reader.take(HEADER)
        if magic != LIST_MAGIC:
            raise ValueError("wrong magic number at the start of the file")
        content = memoryview(reader.data)[reader.at :]
        if checksum not in (0, _checksum(hashlib.sha256(content))):  # MXNet itself writes 0
            raise ValueError("wrong checksum")
        (count,) = reader.take("<Q")
        arrays = [reader.array() for _ in reader.counted(count)]
        names = [reader.text() for _ in reader.counted(*reader.take("<Q"))]
        if reader.left:
            raise ValueError("unexpected bytes at the end of the file")
        if len(set(names)) != len(arrays):
            raise ValueError("two arrays have the same name")
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: not a valid .params file ({error})") from error
    return dict(zip(names, arrays))


def check_weights(arrays: dict[str, np.ndarray], when: str) -> None:
    """Refuse to save weights that are not finite.

    The loss can be finite even then, because MXNet's ReLU turns NaN into 0.

    Parameters
    ----------
    arrays : dict of str to numpy.ndarray
    when : str
        The step or epoch, for the message.

    Raises
    ------
    RunError
        When a value is infinite or not a number.
    """
    for name, array in arrays.items():
        if not np.isfinite(array).all():
            raise RunError(
                f"{when}: {name} contains NaN or infinity and was not saved; "
                "start again with a lower --lr"
            )


def save_params(net: Any, path: Path) -> None:
    """Write a net's weights into a .params file, which `mxnet.nd.load` reads, too.

    Parameters
    ----------
    net : mxnet.gluon.Block
    path : pathlib.Path

    Raises
    ------
    OSError
        When the file cannot be written.
    """
    # MXNet's save_parameters averages over the devices, which rounds.
    weights = net._collect_params_with_prefix()
    write_params(path, {name: p.list_data()[0].asnumpy() for name, p in weights.items()})


def write_params(path: Path, arrays: dict[str, np.ndarray]) -> None:
    """Write a .params file: the same bytes as `mxnet.nd.save`, but for the checksum.

    Parameters
    ----------
    path : pathlib.Path
    arrays : dict of str to numpy.ndarray
        Each has one of the types in `TYPES`.

    Raises
    ------
    OSError
        When the file cannot be written.
    """
    digest = hashlib.sha256()
    with path.open("wb") as file:
        file.write(struct.pack(HEADER, LIST_MAGIC, 0))
        for part in _parts(arrays):
            file.write(part)
            digest.update(part)
        file.seek(0)
        file.write(struct.pack(HEADER, LIST_MAGIC, _checksum(digest)))


def _parts(arrays: dict[str, np.ndarray]) -> Iterator[bytes]:
    """Make the bytes of a file after its header."""
    yield struct.pack("<Q", len(arrays))
    for array in arrays.values():
        layout = f"<IiI{array.ndim}qiii"
        header = ARRAY_MAGIC, DENSE, array.ndim, *array.shape, *CPU, TYPES.index(array.dtype)
        yield struct.pack(layout, *header)
        yield array.tobytes()
    yield struct.pack("<Q", len(arrays))
    for name in map(str.encode, arrays):
        yield struct.pack("<Q", len(name)) + name


def _checksum(digest: Any) -> int:
    """Make 64 bits of a digest; never 0, which MXNet itself writes."""
    return int.from_bytes(digest.digest()[:8], "little") or 1


def load_params(net: Any, path: str | Path, ctx: Sequence) -> None:
    """Load the weights of a .params file, such as a run's net.params, into a net.

    Parameters
    ----------
    net : mxnet.gluon.Block
        The shapes of its parameters are known.
    path : path
    ctx : list of mxnet.Context

    Raises
    ------
    InputError
        When the file is damaged, or belongs to another net. The net is not changed then.
    """
    arrays, parameters = read_params(path), net._collect_params_with_prefix()
    try:
        check_arrays(arrays, parameters)
        check_values(arrays)
    except InputError as error:
        raise InputError(f"{path}: {error}") from error
    for name, parameter in parameters.items():  # MXNet's load_parameters wants a path in UTF-8
        parameter._load_init(mx.nd.array(arrays[name], dtype=parameter.dtype), list(ctx))


def check_arrays(arrays: dict[str, np.ndarray], targets: Mapping[str, Any]) -> None:
    """Check that a file has exactly the arrays of a net, or of a net and its trainer.

    Parameters
    ----------
    arrays : dict of str to numpy.ndarray
    targets : dict of str to mxnet.gluon.Parameter or mxnet.nd.NDArray

    Raises
    ------
    InputError
        When an array is missing or unknown, or has another shape or type. The message is part of a
        line.
    """
    for name, target in targets.items():
        found = arrays[name].shape if name in arrays else "nothing"
        if found != target.shape:
            raise InputError(f"{name} should be of shape {target.shape}, found {found}")
        dtype = np.dtype(target.dtype)
        if arrays[name].dtype != dtype:
            raise InputError(f"{name} should be of type {dtype}, found {arrays[name].dtype}")
    for name in arrays.keys() - targets.keys():
        raise InputError(f"found {reprlib.repr(name)}, which is unknown")


def check_values(arrays: dict[str, np.ndarray]) -> None:
    """Check the values of arrays of a file.

    Raises
    ------
    InputError
        When a value is not finite, or a running variance is negative. The message is part of a
        line.
    """
    for name, array in arrays.items():
        if not np.isfinite(array).all():
            raise InputError(f"{name} contains NaN or infinity")
        if name.endswith("running_var") and (array < 0).any():
            raise InputError(f"{name} contains negative variances")


class _Reader:
    """Read values from bytes, one after the other; raise ValueError if too few are left."""

    def __init__(self, data: bytes) -> None:
        self.data, self.at = data, 0

    @property
    def left(self) -> int:
        return len(self.data) - self.at

    def read(self, size: int) -> bytes:
        if not 0 <= size <= self.left:
            raise ValueError(
                f"expected {size:,} bytes at offset {self.at:,}, but only {self.left:,} are left"
            )
        self.at += size
        return self.data[self.at - size : self.at]

    def take(self, layout: str) -> tuple:
        return struct.unpack(layout, self.read(struct.calcsize(layout)))

    def counted(self, count: int) -> range:
        """Count the items that the file announces; each has at least 8 bytes."""
        if count > self.left // 8:
            raise ValueError(
                f"expected {count:,} items at offset {self.at:,}, "
                f"but only {self.left:,} bytes are left"
            )
        return range(count)

    def array(self) -> np.ndarray:
        magic, storage, ndim = self.take("<IiI")
        if (magic, storage) != (ARRAY_MAGIC, DENSE) or not 1 <= ndim <= 8:
            raise ValueError(f"no dense array before offset {self.at:,}")
        shape = self.take(f"<{ndim}q")
        _, _, kind = self.take("<iii")  # first the device that it was saved from
        if min(shape) < 0:
            raise ValueError(f"a negative size before offset {self.at:,}")
        if kind not in range(len(TYPES)):
            raise ValueError(f"unknown data type before offset {self.at:,}")
        dtype = TYPES[kind]
        array = np.frombuffer(self.read(math.prod(shape) * dtype.itemsize), dtype).reshape(shape)
        if not np.isfinite(array).all():
            raise ValueError(f"NaN or infinity before offset {self.at:,}")
        return array

    def text(self) -> str:
        return self.read(*self.take("<Q")).decode()
