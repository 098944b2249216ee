import json

import mxnet as mx
import pytest
from mxnet.gluon import nn
from test_nets import CIFAR10_TABLES, TABLE

from d2l_alexnet import shapes
from d2l_alexnet.errors import InputError
from d2l_alexnet.nets import NETS, alexnet

MULTIPLY_ADDS = {
    "conv0": 96 * 54 * 54 * 11 * 11,
    "conv1": 256 * 26 * 26 * 96 * 5 * 5,
    "conv2": 384 * 12 * 12 * 256 * 3 * 3,
    "conv3": 384 * 12 * 12 * 384 * 3 * 3,
    "conv4": 256 * 12 * 12 * 384 * 3 * 3,
    "dense0": 6400 * 4096,
    "dense1": 4096 * 4096,
    "dense2": 4096 * 10,
}


def test_alexnet_is_the_lectures_table():
    layers = shapes.trace(alexnet(), (1, 1, 224, 224))
    assert [(row.name, row.output_shape, row.parameters) for row in layers] == TABLE
    assert {row.name: row.multiply_adds for row in layers if row.multiply_adds} == MULTIPLY_ADDS


def test_a_trace_grows_with_the_batch():
    one, eight = (shapes.trace(alexnet(), (n, 1, 224, 224)) for n in (1, 8))
    assert [row.multiply_adds * 8 for row in one] == [row.multiply_adds for row in eight]
    assert [row.parameters for row in one] == [row.parameters for row in eight]


def test_a_layer_that_computes_twice_has_its_parameters_once():
    net, dense = nn.HybridSequential(), nn.Dense(4, in_units=4)
    net.add(dense, dense)
    layers = shapes.trace(net, (3, 4, 1, 1))
    assert [row.parameters for row in layers] == [20, 0]
    assert [row.multiply_adds for row in layers] == [48, 48]


def test_a_transposed_convolution_counts_its_inputs():
    net = nn.HybridSequential()
    net.add(nn.Conv2DTranspose(5, kernel_size=3, strides=2))
    (row,) = shapes.trace(net, (1, 2, 4, 4))
    assert row.output_shape == (1, 5, 9, 9)
    assert row.multiply_adds == 2 * 4 * 4 * 5 * 3 * 3


@pytest.mark.parametrize("side", [1, 20, 66])
def test_too_small_an_input_names_the_smallest_that_fits(side):
    with pytest.raises(InputError, match=r"the smallest square that fits is \(2, 1, 67, 67\)$"):
        shapes.trace(alexnet(), (2, 1, side, side))


def test_the_smallest_input_computes_and_the_next_smaller_does_not():
    net = alexnet()
    net.initialize()
    assert net(mx.nd.zeros((1, 1, 67, 67))).shape == (1, 10)
    with pytest.raises(mx.MXNetError):
        net(mx.nd.zeros((1, 1, 66, 66))).wait_to_read()


def test_an_input_that_no_size_would_mend_is_explained():
    net = nn.HybridSequential()
    net.add(nn.Conv2D(4, kernel_size=1, in_channels=3))
    with pytest.raises(InputError, match=r"input \(1, 1, 99999999999, 67\) does not fit the net; "):
        shapes.trace(alexnet(), (1, 1, 99_999_999_999, 67))
    with pytest.raises(InputError, match=r"input \(1, 2, 8, 8\) does not fit the net: "):
        shapes.trace(net, (1, 2, 8, 8))


def test_command_prints_as_the_lecture_does(run):
    done = run("shapes", "--format", "lecture")
    assert done.stdout.splitlines() == [f"{name} output shape:\t {s}" for name, s, _ in TABLE]


def test_table_and_markdown_show_the_totals():
    layers = shapes.trace(alexnet(), (1, 1, 224, 224))
    assert shapes.as_table(layers).splitlines()[-1].split() == [
        "total",
        "46,764,746",
        "938,146,176",
    ]
    markdown = shapes.as_markdown(layers).splitlines()
    assert markdown[-1] == "| total |  |  | 46,764,746 | 938,146,176 |"
    assert {line.count("|") for line in markdown} == {6}


@pytest.mark.parametrize("name", CIFAR10_TABLES)
def test_the_second_lectures_nets_have_inputs_of_their_own(name, capsys):
    layers = shapes.main(["--net", name, "--format", "markdown"])
    assert [(row.name, row.output_shape, row.parameters) for row in layers] == CIFAR10_TABLES[name]
    multiply_adds = {row.name: row.multiply_adds for row in layers}
    assert multiply_adds["dense0"] == dict(alexnet_cifar10=9216 * 4096).get(name, 4096 * 128)
    assert "| total |" in capsys.readouterr().out


@pytest.mark.parametrize("side", [64, 70, 150, 224])
def test_adaptive_pooling_gives_the_dense_layers_as_much_whatever_the_image(side):
    layers = {row.name: row for row in shapes.trace(NETS["alexnet_cifar10"](), (2, 3, side, side))}
    assert layers["pool3"].output_shape == (2, 256, 6, 6)
    assert layers["pool3"].kind == "AdaptiveAvgPool2D"
    assert sum(row.parameters for row in layers.values()) == 57_044_810


def test_json_holds_the_layers_and_the_totals(capsys):
    shapes.main(["--format", "json", "--input", "1,3,100,120"])
    trace = json.loads(capsys.readouterr().out)
    assert trace["parameters"] == sum(layer["parameters"] for layer in trace["layers"])
    assert trace["layers"][0]["output_shape"] == [1, 96, 23, 28]


@pytest.mark.parametrize(
    ("name", "side", "parameters", "multiply_adds"),
    [
        ("alexnet", 224, 61_100_840, 714_188_480),
        ("resnet18_v1", 224, 11_699_112, 1_814_073_344),
        ("ssd_300_vgg16_atrous_voc", 300, 26_684_849, 31_373_537_792),
    ],
)
def test_gluoncvs_nets(name, side, parameters, multiply_adds):
    net, input_shape = shapes.net_by_name(f"gluoncv:{name}")
    layers = shapes.trace(net, (*input_shape[:2], side, side))
    assert sum(row.parameters for row in layers) == parameters
    assert sum(row.multiply_adds for row in layers) == multiply_adds


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("resnet18_v1b_custom", "it needs the weights of resnet18_v1b.$"),
        ("yolo3_darknet53_custom", ".* missing 1 required positional argument: 'classes'"),
    ],
)
def test_a_net_of_gluoncv_that_needs_more_than_its_name_is_refused(
    name, reason, tmp_path, monkeypatch
):
    monkeypatch.setenv("MXNET_HOME", str(tmp_path))
    with pytest.raises(
        InputError, match=f"^--net gluoncv:{name}: GluonCV cannot build it .{reason}"
    ):
        shapes.net_by_name(f"gluoncv:{name}")
    assert list(tmp_path.iterdir()) == []  # nothing was downloaded


def test_a_net_that_refuses_the_setting_for_its_base_net_is_built_without():
    """GluonCV raises many types for it: TypeError, ValueError, and Warning here."""
    net, shape = shapes.net_by_name("gluoncv:darknet53")
    assert len(shapes.trace(net, shape)) > 100


def test_a_net_that_cannot_be_traced_is_one_line():
    class Values(nn.HybridBlock):
        def hybrid_forward(self, F, X):
            return F.reshape(X, X.asnumpy().shape)

    net = nn.HybridSequential()
    net.add(nn.Flatten(), Values())
    X = mx.nd.ones((1, 1, 2, 2))
    for _ in range(2):
        with pytest.raises(InputError, match="^the layers of this net cannot be listed .[^\n]*$"):
            shapes.trace(net, X.shape)
        assert net(X).shape == (1, 4)  # no hook is left


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["--input", "1,999999999999999999,224,224"],
            "input (1, 999999999999999999, 224, 224) has more than 2,147,483,647 values; choose",
        ),
        (["--net", "vgg"], "--net vgg: no such net; choose lenet, alexnet, alexnet_cifar10, "),
        (["--net", "gluoncv:alexnot"], "GluonCV has no such net; similar: alexnet"),
        (["--input", "1,1,32,32"], "the smallest square that fits is (1, 1, 67, 67)"),
        (
            ["--net", "alexnet_cifar10", "--input", "1,3,32,32"],
            "the smallest square that fits is (1, 3, 63, 63)",
        ),
        (["--input", "1,0,224,224"], "'1,0,224,224' is not four whole numbers above 0: N,C,H,W"),
        (["--input", "224"], "'224' is not four whole numbers above 0: N,C,H,W"),
        (["--format", "xml"], "invalid choice: 'xml'"),
    ],
)
def test_bad_input_is_one_line_and_status_2(run, arguments, message):
    done = run("shapes", *arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert message in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_beside_pytorch_2_only_gluoncvs_nets_are_refused(tmp_path, python):
    """GluonCV cannot be imported if PyTorch 2 is installed. A stand-in has the same effect."""
    (tmp_path / "torch").mkdir()
    (tmp_path / "torch" / "__init__.py").write_text("__version__ = '2.1.0'\n")
    code = """
from d2l_alexnet import cli, shapes
shapes.main(["--format", "lecture"])
cli.run(lambda: shapes.main(["--net", "gluoncv:alexnet"]))
"""
    done = python(code, PYTHONPATH=str(tmp_path))
    assert (done.returncode, len(done.stdout.splitlines())) == (2, len(TABLE))
    assert done.stderr.startswith("d2l_alexnet: cannot import GluonCV: ")
    assert len(done.stderr.splitlines()) == 1


def test_on_a_bare_debian_where_opencv_lacks_libraries_the_nets_are_shown(tmp_path, python):
    text = "libGL.so.1: cannot open shared object file: No such file or directory"
    (tmp_path / "cv2.py").write_text(f"raise ImportError({text!r})\n")
    code = "from d2l_alexnet import shapes; shapes.main(); print('used')"
    done = python(code, "--net", "gluoncv:alexnet", PYTHONPATH=str(tmp_path))
    assert (done.returncode, done.stdout.splitlines()[-1]) == (0, "used"), done.stderr


def test_training_does_not_import_gluoncv(python):
    done = python("import sys, d2l_alexnet.train; print('gluoncv' in sys.modules)")
    assert done.stdout == "False\n"


@pytest.mark.parametrize("shape", [(), (-1, 2), (1, 0, 5, 5)])
def test_what_is_no_shape_is_refused(shape):
    with pytest.raises(InputError, match="^input .* is not a shape: whole numbers above 0$"):
        shapes.trace(alexnet(), shape)
