"""Weights from and to PyTorch, as NumPy arrays by PyTorch's names. PyTorch itself is not needed.

Both frameworks keep a layer's weights in the same shape: a convolution's (out, in, H, W), a dense
layer's (out, in). So arrays are matched by their order. Two things differ: the names, and
``num_batches_tracked``, a counter that MXNet does not have.
"""

from __future__ import annotations

from typing import Any, Mapping

import mxnet as mx
import numpy as np

from d2l_alexnet.errors import InputError

COUNTER = "num_batches_tracked"


def from_pytorch(net: Any, state: Mapping[str, Any]) -> None:
    """Load the weights of a PyTorch net into a net with the same layers.

    Parameters
    ----------
    net : mxnet.gluon.Block
        Initialized or not. The shapes of its parameters are known, as after `infer_shape`.
    state : mapping of str to array
        PyTorch's ``state_dict()`` as NumPy arrays, or an .npz file with these arrays.

    Raises
    ------
    InputError
        When the layers differ. The net is not changed then.

    Examples
    --------
    Where PyTorch is: ``np.savez("theirs.npz", **{k: v.numpy() for k, v in state_dict.items()})``.
    Here: ``from_pytorch(net, np.load("theirs.npz"))``.
    """
    pairs = _matched(net, state)
    if any(parameter._data is None for parameter, _ in pairs):
        net.initialize(mx.init.Zero())  # the values do not matter: all are replaced
    for parameter, name in pairs:
        parameter.set_data(mx.nd.array(state[name], dtype=parameter.dtype))


def to_pytorch(net: Any, state: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """Return the weights of a net by the names of a PyTorch net with the same layers.

    Parameters
    ----------
    net : mxnet.gluon.Block
        Initialized.
    state : mapping of str to array
        The PyTorch net's ``state_dict()``, for its names and shapes. Its values are not used.

    Returns
    -------
    dict of str to numpy.ndarray
        For PyTorch's ``load_state_dict``, after ``torch.from_numpy`` of each array.

    Raises
    ------
    InputError
        When the layers differ.
    """
    weights = {name: p.list_data()[0].asnumpy() for p, name in _matched(net, state)}
    return {name: weights[name] if name in weights else np.array(0) for name in state}


def _matched(net: Any, state: Mapping[str, Any]) -> list[tuple[Any, str]]:
    """Pair a net's parameters with PyTorch's names; raise InputError where the shapes differ."""
    parameters = list(net.collect_params().values())
    names = [name for name in state if not name.endswith(COUNTER)]
    if len(parameters) != len(names):
        raise InputError(f"the net has {len(parameters)} arrays, and the PyTorch net {len(names)}")
    for parameter, name in zip(parameters, names):
        shape = tuple(state[name].shape)
        if parameter.shape != shape:
            raise InputError(
                f"{name} has the shape {shape}, and {parameter.name} {parameter.shape}: "
                "the layers differ, or their shapes are not known; call net.infer_shape(X) first"
            )
    return list(zip(parameters, names))
