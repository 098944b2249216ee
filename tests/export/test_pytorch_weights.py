"""Weights from and to PyTorch; `tests/test_pytorch.py` compares logits."""

import mxnet as mx
import numpy as np
import pytest

from d2l_alexnet.errors import InputError
from d2l_alexnet.export.pytorch import from_pytorch, to_pytorch
from d2l_alexnet.nets import convnet_cifar10

# A PyTorch Sequential numbers activations and Flatten too, but they have no arrays.
WEIGHTS = {0: (32, 3, 3, 3), 3: (64, 32, 3, 3), 6: (64, 64, 3, 3), 10: (128, 4096), 14: (10, 128)}
NORMS = {1: 32, 4: 64, 7: 64, 11: 128}


@pytest.fixture
def state():
    """Give arrays with the names and shapes of the ConvNet's state_dict in PyTorch."""
    shapes = {}
    for layer in sorted([*WEIGHTS, *NORMS]):
        if layer in WEIGHTS:
            shapes[f"{layer}.weight"], shapes[f"{layer}.bias"] = WEIGHTS[layer], WEIGHTS[layer][:1]
        else:
            kinds = ("weight", "bias", "running_mean", "running_var")
            shapes.update({f"{layer}.{kind}": (NORMS[layer],) for kind in kinds})
            shapes[f"{layer}.num_batches_tracked"] = ()
    draws = np.random.RandomState(0)
    return {name: np.asarray(draws.rand(*shape), np.float32) for name, shape in shapes.items()}


@pytest.fixture
def net():
    new = convnet_cifar10()
    new.infer_shape(mx.nd.zeros((1, 3, 32, 32)))
    return new


def test_weights_go_to_mxnet_and_back(net, state, tmp_path):
    np.savez(tmp_path / "theirs.npz", **state)
    with np.load(tmp_path / "theirs.npz") as theirs:
        from_pytorch(net, theirs)
        back = to_pytorch(net, theirs)
    assert list(back) == list(state)
    for name, array in state.items():
        expected = 0 if name.endswith("tracked") else array
        assert np.array_equal(back[name], expected)
        assert back[name].shape == array.shape
    assert np.array_equal(net[1].running_var.data().asnumpy(), state["1.running_var"])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (dict(extra=np.zeros(3)), "the net has 26 arrays, and the PyTorch net 27"),
        ({"3.bias": np.zeros(65)}, r"3.bias has the shape \(65,\), and conv1_bias \(64,\)"),
    ],
)
def test_other_layers_are_refused_and_nothing_is_changed(net, state, change, message):
    from_pytorch(net, state)
    with pytest.raises(InputError, match=message):
        from_pytorch(net, {name: 2 * array for name, array in {**state, **change}.items()})
    assert np.array_equal(net[0].weight.data().asnumpy(), state["0.weight"])
