import mxnet as mx
import pytest

from d2l_alexnet.errors import InputError
from d2l_alexnet.runtime import devices


def test_cpu_context():
    assert devices.choose_context("cpu") == ([mx.cpu()], "chosen with --ctx")


def test_several_contexts():
    assert devices.choose_context("cpu:1")[0] == [mx.cpu(1)]
    assert devices.choose_context("cpu:0,2")[0] == [mx.cpu(0), mx.cpu(2)]
    with pytest.raises(InputError, match="^--ctx cpu:0,1,0: names a device twice$"):
        devices.choose_context("cpu:0,1,0")


@pytest.mark.parametrize("name", ["tpu", "gpu:", "gpu:x", "cpu:1,", "cpu:,1", "gpu:0;1", "GPU", ""])
def test_unknown_context_is_refused(name):
    with pytest.raises(InputError, match="not a device; choose auto, cpu, gpu"):
        devices.choose_context(name)


@pytest.mark.skipif(mx.context.num_gpus() > 0, reason="this machine has a GPU")
@pytest.mark.parametrize("name", ["gpu", "gpu:0", "gpu:7"])
def test_gpu_without_one_is_refused_not_replaced(name):
    with pytest.raises(InputError, match=f"^--ctx {name}: .*; use --ctx cpu, or auto$"):
        devices.choose_context(name)


@pytest.mark.skipif(mx.context.num_gpus() > 0, reason="this machine has a GPU")
def test_auto_without_a_gpu_is_the_cpu_and_says_why():
    ctx, why = devices.choose_context("auto")
    assert ctx == [mx.cpu()]
    assert why.startswith("MXNet cannot use a GPU: ")


@pytest.mark.skipif(mx.context.num_gpus() == 0, reason="needs a GPU")
def test_auto_takes_the_gpu():
    assert devices.choose_context("auto")[0] == [mx.gpu(0)]
