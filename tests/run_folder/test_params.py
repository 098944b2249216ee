import struct

import mxnet as mx
import numpy as np
import pytest
from mxnet import gluon

from d2l_alexnet.errors import InputError
from d2l_alexnet.run_folder.params import load_params, read_params, save_params


def make_net(units=3):
    net = gluon.nn.HybridSequential()
    net.add(gluon.nn.Dense(units, in_units=4), gluon.nn.Dense(2, in_units=units))
    net.initialize(mx.init.Normal(1))
    return net


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
def test_every_type_of_array(tmp_path, dtype):
    array = mx.nd.array(np.arange(6).reshape(1, 2, 3), dtype=dtype)
    mx.nd.save(str(tmp_path / "file"), {"a": array})
    assert (read_params(tmp_path / "file")["a"] == array.asnumpy()).all()
    assert read_params(tmp_path / "file")["a"].dtype == array.dtype


def test_loading_gives_a_net_the_weights(path):
    net = make_net()
    load_params(net, path, [mx.cpu()])
    for name, array in read_params(path).items():
        assert (net._collect_params_with_prefix()[name].data().asnumpy() == array).all()


def test_saving_notices_a_full_disk(tmp_path, no_room):
    """MXNet stops halfway without a word."""
    with no_room(), pytest.raises(OSError, match="is the disk full"):
        save_params(make_net(), tmp_path / "net.params")


def test_a_file_of_another_net_is_refused(path):
    with pytest.raises(InputError, match=r"0.weight should be of shape \(5, 4\), found \(3, 4\)$"):
        load_params(make_net(units=5), path, [mx.cpu()])


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda raw: b"", "expected 16 bytes at offset 0, but only 0 are left"),
        (lambda raw: b"x" + raw[1:], "wrong magic number at the start of the file"),
        (lambda raw: raw[:-1], "expected .* bytes at offset"),
        (lambda raw: raw + b"x", "unexpected bytes at the end"),
        (lambda raw: raw[:16] + struct.pack("<Q", 1 << 60) + raw[24:], "expected .* items"),
        (lambda raw: raw[:36] + struct.pack("<q", 1 << 60) + raw[44:], "expected .* bytes"),
        (lambda raw: raw[:36] + struct.pack("<q", -4) + raw[44:], "unknown data type"),
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
