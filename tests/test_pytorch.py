"""The second lecture's nets compute what PyTorch's compute; see `make_fixtures`."""

import mxnet as mx
import numpy as np
import pytest
from make_fixtures import FIXTURES, SHAPES, draw_images, draw_weights, sample
from mxnet import autograd, gluon

from d2l_alexnet.export.pytorch import from_pytorch
from d2l_alexnet.nets import NETS, PyTorchDefault


@pytest.fixture(scope="module", params=SHAPES)
def name(request):
    return request.param


@pytest.fixture(scope="module")
def expected(name):
    """PyTorch's values for the net, by their names without the net's name."""
    with np.load(FIXTURES) as file:
        found = {key: file[key] for key in file if key.startswith(name)}
    return {key.partition(".")[2]: value for key, value in found.items()}


@pytest.fixture(scope="module")
def learned(name):
    """The net after a backward pass, and its logits in predict and in training mode."""
    net = NETS[name](dropout=0.0)
    images, labels = draw_images(name)
    X, y = mx.nd.array(images), mx.nd.array(labels)
    net.infer_shape(X)
    parameters = net.collect_params()
    drawn = draw_weights([parameter.shape for parameter in parameters.values()])
    from_pytorch(net, dict(zip(parameters, drawn)))
    net.hybridize()
    before = net(X).asnumpy()
    with autograd.record():
        y_hat = net(X)
        l = gluon.loss.SoftmaxCrossEntropyLoss()(y_hat, y).mean()
    l.backward()
    return net, before, y_hat.asnumpy()


def test_the_same_weights_give_the_same_logits(learned, expected):
    _, before, y_hat = learned
    for logits, theirs in ((before, "predict.logits"), (y_hat, "learn.logits")):
        assert np.allclose(logits, expected[theirs], rtol=1e-4, atol=1e-4)


def test_the_same_weights_give_the_same_gradients(learned, expected):
    """The tolerance is 1e-4 of a gradient's norm. Gradients of a bias before BatchNorm are 0."""
    net, *_ = learned
    gradients = [p.grad().asnumpy() for p in net.collect_params().values() if p.grad_req != "null"]
    assert len(gradients) == len(expected["norms"])
    for ours, theirs, norm in zip(gradients, expected["gradients"], expected["norms"]):
        # In float64, because the sum of so many squares has an error of some 1e-4 in float32.
        assert np.allclose(np.linalg.norm(ours.astype(np.float64)), norm, rtol=1e-4, atol=1e-5)
        assert np.allclose(sample(ours), theirs, rtol=0, atol=1e-4 * max(norm, 1e-2))


def test_running_averages_are_pytorchs_but_for_the_variances_divisor(learned, expected):
    """For the running variance MXNet divides a batch's squares by n, and PyTorch by n - 1."""
    net, *_ = learned
    theirs, images = expected["running"], 8
    pixels = dict(batchnorm0=16 * 16, batchnorm1=16 * 16, batchnorm2=8 * 8, batchnorm3=1)
    for layer in net:
        if layer.name not in pixels:
            continue
        n, size = images * pixels[layer.name], layer.running_mean.shape[0]
        means, variances, theirs = theirs[:size], theirs[size : 2 * size], theirs[2 * size :]
        assert np.allclose(layer.running_mean.data().asnumpy(), means, rtol=1e-4, atol=1e-5)
        change = layer.running_var.data().asnumpy() - variances
        assert (change <= 1e-5).all()
        assert np.allclose(change, 0, atol=1.2 * variances.max() / n)
    assert not len(theirs)


def test_initial_weights_and_biases_have_pytorchs_bounds(name, expected):
    mx.random.seed(0)
    net = NETS[name]()
    net.infer_shape(mx.nd.zeros(SHAPES[name]))
    net.initialize(PyTorchDefault())
    learned = [p for p in net.collect_params().values() if p.grad_req != "null"]
    fan_in = 0
    for parameter, extreme in zip(learned, expected["extremes"]):
        values = parameter.data().asnumpy()
        if parameter.name.endswith(("gamma", "beta")):
            assert (values == extreme).all()
            continue
        if parameter.name.endswith("weight"):
            fan_in = np.prod(values.shape[1:])
        bound = fan_in**-0.5
        assert extreme <= bound * (1 + 1e-6)
        assert bound * 0.7 < np.abs(values).max() <= bound * (1 + 1e-6)
        assert abs(values.mean()) < 4 * bound / (3 * values.size) ** 0.5
        if values.size > 1000:
            assert values.std() == pytest.approx(bound / 3**0.5, rel=0.05)


def test_biases_before_their_weights_are_refused():
    net = NETS["convnet_cifar10"]()
    with pytest.raises(ValueError, match="conv0_bias comes before its weight; call net.infer_shap"):
        net.initialize(PyTorchDefault())
