import mxnet as mx
import numpy as np
import pytest

from d2l_alexnet.errors import InputError
from d2l_alexnet.nets import (
    INPUT_SHAPES,
    NETS,
    AdaptiveAvgPool2D,
    alexnet,
    alexnet_cifar10,
    convnet_cifar10,
    lenet,
)

# The lecture's table: layer, output shape for one (1, 1, 224, 224) image, parameters.
TABLE = [
    ("conv0", (1, 96, 54, 54), 11_712),
    ("pool0", (1, 96, 26, 26), 0),
    ("conv1", (1, 256, 26, 26), 614_656),
    ("pool1", (1, 256, 12, 12), 0),
    ("conv2", (1, 384, 12, 12), 885_120),
    ("conv3", (1, 384, 12, 12), 1_327_488),
    ("conv4", (1, 256, 12, 12), 884_992),
    ("pool2", (1, 256, 5, 5), 0),
    ("dense0", (1, 4096), 26_218_496),
    ("dropout0", (1, 4096), 0),
    ("dense1", (1, 4096), 16_781_312),
    ("dropout1", (1, 4096), 0),
    ("dense2", (1, 10), 40_970),
]


# LeNet, as published: layer, output shape for one (1, 1, 28, 28) image, parameters.
LENET_TABLE = [
    ("conv0", (1, 6, 28, 28), 6 * 1 * 5 * 5 + 6),
    ("pool0", (1, 6, 14, 14), 0),
    ("conv1", (1, 16, 10, 10), 16 * 6 * 5 * 5 + 16),
    ("pool1", (1, 16, 5, 5), 0),
    ("dense0", (1, 120), 120 * 16 * 5 * 5 + 120),
    ("dense1", (1, 84), 84 * 120 + 84),
    ("dense2", (1, 10), 10 * 84 + 10),
]


# The second lecture's nets: layer, output shape for one of its images, parameters.
CIFAR10_TABLES = dict(
    alexnet_cifar10=[
        ("conv0", (1, 64, 15, 15), 64 * 3 * 11 * 11 + 64),
        ("pool0", (1, 64, 7, 7), 0),
        ("conv1", (1, 192, 7, 7), 192 * 64 * 5 * 5 + 192),
        ("pool1", (1, 192, 3, 3), 0),
        ("conv2", (1, 384, 3, 3), 384 * 192 * 3 * 3 + 384),
        ("conv3", (1, 256, 3, 3), 256 * 384 * 3 * 3 + 256),
        ("conv4", (1, 256, 3, 3), 256 * 256 * 3 * 3 + 256),
        ("pool2", (1, 256, 1, 1), 0),
        ("pool3", (1, 256, 6, 6), 0),
        ("dropout0", (1, 256, 6, 6), 0),
        ("dense0", (1, 4096), 4096 * 256 * 6 * 6 + 4096),
        ("dropout1", (1, 4096), 0),
        ("dense1", (1, 4096), 4096 * 4096 + 4096),
        ("dense2", (1, 10), 10 * 4096 + 10),
    ],
    convnet_cifar10=[
        ("conv0", (1, 32, 16, 16), 32 * 3 * 3 * 3 + 32),
        ("batchnorm0", (1, 32, 16, 16), 4 * 32),
        ("leakyrelu0", (1, 32, 16, 16), 0),
        ("conv1", (1, 64, 16, 16), 64 * 32 * 3 * 3 + 64),
        ("batchnorm1", (1, 64, 16, 16), 4 * 64),
        ("leakyrelu1", (1, 64, 16, 16), 0),
        ("conv2", (1, 64, 8, 8), 64 * 64 * 3 * 3 + 64),
        ("batchnorm2", (1, 64, 8, 8), 4 * 64),
        ("leakyrelu2", (1, 64, 8, 8), 0),
        ("dense0", (1, 128), 128 * 64 * 8 * 8 + 128),
        ("batchnorm3", (1, 128), 4 * 128),
        ("leakyrelu3", (1, 128), 0),
        ("dropout0", (1, 128), 0),
        ("dense1", (1, 10), 10 * 128 + 10),
    ],
)


@pytest.fixture(scope="module")
def net():
    net = alexnet()
    net.initialize()
    return net


def test_every_layer_computes_the_lectures_shape(net):
    X = mx.nd.random.uniform(shape=(1, 1, 224, 224))
    rows = []
    for layer in net:
        X = layer(X)
        parameters = sum(p.data().size for p in layer.collect_params().values())
        rows.append((layer.name, X.shape, parameters))
    assert rows == TABLE


def test_settings_that_shapes_do_not_show(net):
    layers = {layer.name: layer for layer in net}
    with_relu = [name for name in layers if "relu" in repr(layers[name])]
    assert with_relu == ["conv0", "conv1", "conv2", "conv3", "conv4", "dense0", "dense1"]
    assert all("Dropout(p = 0.5" in repr(layers[f"dropout{i}"]) for i in (0, 1))
    assert all("MaxPool2D" in repr(layers[f"pool{i}"]) for i in (0, 1, 2))


def test_hybridized_it_computes_the_same(net):
    X = mx.nd.random.uniform(shape=(2, 1, 224, 224))
    plain = net(X).asnumpy()
    net.hybridize(static_alloc=True, static_shape=True)
    mx.test_utils.assert_almost_equal(net(X).asnumpy(), plain, rtol=1e-4, atol=1e-6)


def test_number_of_classes():
    net = alexnet(num_classes=7)
    net.initialize()
    assert net(mx.nd.zeros((2, 3, 67, 67))).shape == (2, 7)


@pytest.mark.parametrize("name", NETS)
def test_names_are_the_same_in_every_net(name):
    assert list(NETS[name]().collect_params()) == list(NETS[name]().collect_params())


@pytest.mark.parametrize("name", CIFAR10_TABLES)
def test_every_layer_of_the_second_lectures_nets_computes_its_shape(name):
    net, rows = NETS[name](), []
    net.initialize()
    X = mx.nd.random.uniform(shape=INPUT_SHAPES[name])
    plain = net(X).asnumpy()
    for layer in net:
        X = layer(X)
        parameters = sum(p.data().size for p in layer.collect_params().values())
        rows.append((layer.name, X.shape, parameters))
    assert rows == CIFAR10_TABLES[name]
    net.hybridize(static_alloc=True, static_shape=True)
    X = mx.nd.concat(mx.nd.zeros(INPUT_SHAPES[name]), mx.nd.ones(INPUT_SHAPES[name]), dim=0)
    hybridized = net(X).asnumpy()
    net.hybridize(active=False)
    mx.test_utils.assert_almost_equal(hybridized, net(X).asnumpy(), rtol=1e-4, atol=1e-6)
    assert plain.shape == (1, 10)


def test_settings_of_the_second_lectures_nets_that_shapes_do_not_show():
    layers = {layer.name: repr(layer) for layer in alexnet_cifar10()}
    with_relu = [name for name in layers if "relu" in layers[name]]
    assert with_relu == ["conv0", "conv1", "conv2", "conv3", "conv4", "dense0", "dense1"]
    assert all("p = 0.5" in layers[f"dropout{i}"] for i in (0, 1))
    assert "p = 0.3" in repr(convnet_cifar10(dropout=0.3))
    layers = list(convnet_cifar10())
    slopes = [layer._alpha for layer in layers if layer.name.startswith("leakyrelu")]
    assert slopes == [0.1] * 4
    normalized = [layer._kwargs for layer in layers if layer.name.startswith("batchnorm")]
    assert [(kwargs["eps"], kwargs["momentum"]) for kwargs in normalized] == [(1e-5, 0.9)] * 4


def test_one_alexnet_takes_images_of_any_size_from_63_up():
    net = alexnet_cifar10(num_classes=7)
    net.initialize()
    for side in (63, 64, 70, 150, 224):
        assert net(mx.nd.zeros((1, 3, side, side))).shape == (1, 7)
    with pytest.raises(mx.MXNetError):
        net(mx.nd.zeros((1, 3, 62, 62))).wait_to_read()


def test_adaptive_pooling_averages_by_hand():
    X = mx.nd.arange(16).reshape((1, 1, 4, 4))
    pooled = AdaptiveAvgPool2D(2)(X).asnumpy()
    assert pooled.tolist() == [[[[2.5, 4.5], [10.5, 12.5]]]]
    assert (AdaptiveAvgPool2D(4)(X).asnumpy() == X.asnumpy()).all()
    assert (AdaptiveAvgPool2D(6)(mx.nd.full((1, 1, 1, 1), 3)).asnumpy() == np.full((6, 6), 3)).all()
    # 5 values in 2 windows that share the middle one: 0 1 2 and 2 3 4
    row = AdaptiveAvgPool2D(2)(mx.nd.arange(5).tile((1, 1, 5, 1))).asnumpy()
    assert row[0, 0, 0].tolist() == [1, 3]


def test_every_layer_of_lenet_computes_the_published_shape():
    net, rows = lenet(), []
    net.initialize()
    X = mx.nd.random.uniform(shape=INPUT_SHAPES["lenet"])
    for layer in net:
        X = layer(X)
        parameters = sum(p.data().size for p in layer.collect_params().values())
        rows.append((layer.name, X.shape, parameters))
    assert rows == LENET_TABLE
    assert sum(parameters for _, _, parameters in rows) == 61_706


def test_settings_of_lenet_that_shapes_do_not_show():
    layers = {layer.name: repr(layer) for layer in lenet()}
    with_sigmoid = [name for name in layers if "sigmoid" in layers[name]]
    assert with_sigmoid == ["conv0", "conv1", "dense0", "dense1"]
    assert all("AvgPool2D" in layers[f"pool{i}"] for i in (0, 1))


def test_lenet_has_no_dropout():
    with pytest.raises(InputError, match="LeNet has no dropout layers"):
        lenet(dropout=0.5)
