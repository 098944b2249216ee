import mxnet as mx
import pytest

from d2l_alexnet.nets import NETS, alexnet

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
