import struct
from pathlib import Path

import mxnet as mx
import numpy as np
import pytest
from mxnet import gluon

from d2l_alexnet.errors import InputError
from d2l_alexnet.run_folder.params import load_params, read_params, save_params, write_params


def make_net(units=3):
    net = gluon.nn.HybridSequential()
    net.add(gluon.nn.Dense(units, in_units=4), gluon.nn.Dense(2, in_units=units))
    net.initialize(mx.init.Normal(1))
    return net


def without_checksum(path):
    content = path.read_bytes()
    return content[:8] + content[16:]


@pytest.fixture
def path(tmp_path):
    make_net().save_parameters(str(tmp_path / "net.params"))
    return tmp_path / "net.params"


def test_what_mxnet_wrote_is_read_as_mxnet_reads_it(path):
    ours, mxnets = read_params(path), mx.nd.load(str(path))
    assert list(ours) == list(mxnets)
    for name, array in mxnets.items():
        assert ours[name].dtype == array.dtype
        assert (ours[name] == array.asnumpy()).all()


@pytest.mark.parametrize(
    "dtype", ["float32", "float64", "float16", "uint8", "int32", "int8", "int64"]
)
def test_every_type_of_array_is_written_and_read_as_mxnet_does(tmp_path, dtype):
    array = mx.nd.array(np.arange(6).reshape(1, 2, 3), dtype=dtype)
    mx.nd.save(str(tmp_path / "file"), {"a": array, "b.c": array[0, 0]})
    read = read_params(tmp_path / "file")
    assert (read["a"] == array.asnumpy()).all()
    assert read["a"].dtype == array.dtype
    write_params(tmp_path / "ours", read)
    assert without_checksum(tmp_path / "ours") == without_checksum(tmp_path / "file")


def test_a_net_is_saved_as_mxnet_does(tmp_path):
    net = make_net()
    net.save_parameters(str(tmp_path / "mxnets"))
    save_params(net, tmp_path / "ours")
    assert without_checksum(tmp_path / "ours") == without_checksum(tmp_path / "mxnets")


def test_loading_gives_a_net_the_weights(path):
    net = make_net()
    load_params(net, path, [mx.cpu()])
    for name, array in read_params(path).items():
        assert (net._collect_params_with_prefix()[name].data().asnumpy() == array).all()


def test_a_full_disk_is_named_at_whichever_byte_it_is_full(tmp_path, no_room):
    """MXNet itself sometimes stops halfway without a word, and sometimes names a C++ function."""
    with no_room(), pytest.raises(OSError, match="File too large"):
        save_params(make_net(), tmp_path / "net.params")
    with pytest.raises(OSError, match="No space left on device"):
        save_params(make_net(), Path("/dev/full"))


def test_a_file_of_another_net_is_refused(path):
    with pytest.raises(InputError, match=r"0.weight should be of shape \(5, 4\), found \(3, 4\)$"):
        load_params(make_net(units=5), path, [mx.cpu()])


@pytest.mark.parametrize("dtype", ["float64", "float16", "int8"])
def test_weights_of_another_type_are_refused(tmp_path, dtype):
    net = make_net()
    net.cast(dtype)
    net.save_parameters(str(tmp_path / "net.params"))
    with pytest.raises(InputError, match=f"0.weight should be of type float32, found {dtype}$"):
        load_params(make_net(), tmp_path / "net.params", [mx.cpu()])


def test_an_array_that_the_net_does_not_have_is_refused(path):
    mx.nd.save(str(path), {**mx.nd.load(str(path)), "2.weight": mx.nd.ones((2, 2))})
    with pytest.raises(InputError, match=f"^{path}: found '2.weight', which is unknown$"):
        load_params(make_net(), path, [mx.cpu()])


def test_every_name_needs_an_array(path):
    mx.nd.save(str(path), {"a": mx.nd.ones(2)})
    names = struct.pack("<QQ", 1, 1) + b"a"
    more = struct.pack("<QQ", 2, 1) + b"a" + struct.pack("<Q", 1) + b"b"
    path.write_bytes(path.read_bytes().replace(names, more))
    with pytest.raises(InputError, match="not a valid .params file"):
        read_params(path)


def test_an_array_may_have_eight_dimensions(path):
    mx.nd.save(str(path), {"a": mx.nd.ones((1,) * 7 + (2,))})
    assert read_params(path)["a"].shape == (1,) * 7 + (2,)


def test_running_variances_may_be_zero(path):
    net = gluon.nn.BatchNorm(in_channels=3)
    net.initialize()
    net.running_var.set_data(mx.nd.array([0, 0.5, 2]))
    net.save_parameters(str(path))
    load_params(net, path, [mx.cpu()])
    assert net.running_var.data().asnumpy().tolist() == [0, 0.5, 2]


def test_negative_running_variances_are_refused(tmp_path):
    net = gluon.nn.BatchNorm(in_channels=3)
    net.initialize()
    net.running_var.set_data(mx.nd.array([1, -1, 1]))
    net.save_parameters(str(tmp_path / "net.params"))
    with pytest.raises(InputError, match="net.params: running_var contains negative variances$"):
        load_params(net, tmp_path / "net.params", [mx.cpu()])


def test_a_saved_file_has_a_checksum_and_mxnet_reads_it(path):
    net = make_net()
    save_params(net, path)
    for name, array in mx.nd.load(str(path)).items():
        assert (net._collect_params_with_prefix()[name].data() == array).asnumpy().all()
    raw = path.read_bytes()
    path.write_bytes(raw[:66] + bytes([raw[66] ^ 1]) + raw[67:])  # one bit of a weight
    with pytest.raises(InputError, match="not a valid .params file .wrong checksum.$"):
        read_params(path)


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda raw: b"", "expected 16 bytes at offset 0, but only 0 are left"),
        (lambda raw: b"x" + raw[1:], "wrong magic number at the start of the file"),
        (lambda raw: raw[:-1], "expected .* bytes at offset"),
        (lambda raw: raw + b"x", "unexpected bytes at the end"),
        (lambda raw: raw[:16] + struct.pack("<Q", 1 << 60) + raw[24:], "expected .* items"),
        (lambda raw: raw[:36] + struct.pack("<q", 1 << 60) + raw[44:], "expected .* bytes"),
        (lambda raw: raw[:36] + struct.pack("<q", -4) + raw[44:], "a negative size before"),
        (lambda raw: raw[:60] + struct.pack("<i", 99) + raw[64:], "unknown data type before"),
        (lambda raw: raw[:32] + struct.pack("<I", 1 << 30) + raw[36:], "no dense array"),
        (lambda raw: raw[:64] + struct.pack("<f", np.nan) + raw[68:], "NaN or infinity before"),
    ],
)
def test_a_damaged_file_is_refused_in_one_line(path, change, why):
    path.write_bytes(change(path.read_bytes()))
    with pytest.raises(InputError, match=f"^{path}: not a valid .params file .*{why}") as caught:
        read_params(path)
    assert "\n" not in str(caught.value)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(InputError, match="^.*/none: not a valid .params file .*No such file"):
        read_params(tmp_path / "none")
