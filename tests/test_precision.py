import json
from dataclasses import replace
from pathlib import Path

import mxnet as mx
import numpy as np
import pytest
from kill_and_resume import result
from mxnet import autograd
from mxnet.gluon import nn

from d2l_alexnet import evaluate, precision
from d2l_alexnet.build import build_net, initialize, input_shape
from d2l_alexnet.callbacks.base import Callback
from d2l_alexnet.errors import InputError
from d2l_alexnet.precision import bfloat16_unsupported_reason, prepare, unsupported_reason
from d2l_alexnet.recipes import CIFAR10_ALEXNET, CIFAR10_CONVNET, LECTURE, QUICK
from d2l_alexnet.runtime import cpu
from d2l_alexnet.train import main, resume, train

needs_bfloat16 = pytest.mark.skipif(
    bool(bfloat16_unsupported_reason()), reason="needs a CPU that computes in bfloat16"
)
SMALL = replace(LECTURE, resize=67, train_size=96, batch_size=32, num_epochs=2, dtype="bfloat16")
SMALL_CONVNET = replace(CIFAR10_CONVNET, batch_size=100, num_epochs=2, dtype="bfloat16")
BOTH = pytest.mark.parametrize(
    ("recipe", "data"), [(SMALL, "small_data"), (SMALL_CONVNET, "small_cifar10")]
)
QUIETLY = dict(ctx="cpu", num_workers=0)


def of_recipe(recipe):
    """Give a recipe's net with weights of its own, and the same net in bfloat16."""
    net, rounded = build_net(recipe), build_net(replace(recipe, dtype="bfloat16"))
    for each in (net, rounded):
        initialize(each, recipe, [mx.cpu()], seed=1)
    return net, rounded


@needs_bfloat16
@pytest.mark.parametrize("recipe", [QUICK, CIFAR10_ALEXNET, CIFAR10_CONVNET], ids=lambda r: r.name)
def test_outputs_and_gradients_are_float32_and_near_those_of_float32(recipe):
    recipe = replace(recipe, dropout=0, **(dict(resize=67) if recipe.margin == 0 else {}))
    nets = of_recipe(recipe)
    X = mx.nd.random.uniform(shape=(16, *input_shape(recipe)[1:]))
    outputs, gradients = [], []
    for net in nets:
        with autograd.record():
            outputs.append(net(X))
        outputs[-1].backward()
        params = net.collect_params().values()
        gradients.append([p.grad().asnumpy() for p in params if p.grad_req == "write"])
        assert {np.dtype(p.dtype) for p in params} == {np.dtype("float32")}
    assert list(nets[0].collect_params()) == list(nets[1].collect_params())
    assert all(each.dtype == np.float32 for each in outputs)
    exact, rounded = (each.asnumpy() for each in outputs)
    assert 0 < np.abs(exact - rounded).max() < 0.03 * np.abs(exact).max()
    # Compared all together: the biases before a batch normalization have no gradient but noise.
    exact, rounded = (np.concatenate([each.ravel() for each in all_]) for all_ in gradients)
    assert exact.dtype == rounded.dtype == np.float32
    assert np.linalg.norm(exact - rounded) < 0.2 * np.linalg.norm(exact)


@needs_bfloat16
def test_a_relu_after_its_pooling_gives_the_bits_of_one_before():
    X = mx.nd.random.normal(shape=(2, 3, 15, 15))
    results = []
    for layers in (
        [nn.Conv2D(16, 3, in_channels=3, activation="relu"), nn.MaxPool2D(3, 2)],
        [nn.Conv2D(16, 3, in_channels=3), nn.LeakyReLU(0), nn.MaxPool2D(3, 2)],
    ):
        net = precision.BFloat16Sequential()
        net.add(*layers)
        mx.random.seed(1)
        net.initialize(mx.init.Xavier())
        with autograd.record():
            output = net(X)
        output.backward()
        gradients = [p.grad() for p in net.collect_params().values()]
        results.append([each.asnumpy() for each in (output, *gradients)])
    assert results[0][0].any()
    assert all(map(np.array_equal, *results))


@needs_bfloat16
@BOTH
def test_a_stopped_run_in_bfloat16_ends_with_the_same_bits_and_is_evaluated_as_it_was_tested(
    recipe, data, request, tmp_path
):
    request.getfixturevalue(data)

    class Fail(Callback):
        def on_batch_end(self, training):
            if training.state.steps == 3:
                raise OSError("as if the disk were gone")

    train(recipe, out=tmp_path / "undisturbed", **QUIETLY)
    with pytest.raises(Exception, match="as if the disk were gone"):
        train(recipe, out=tmp_path / "stopped", callbacks=[Fail()], **QUIETLY)
    history = resume(tmp_path / "stopped", **QUIETLY)
    assert result(tmp_path / "stopped") == result(tmp_path / "undisturbed")
    evaluation = evaluate.evaluate(tmp_path / "stopped", **QUIETLY)
    assert evaluation.correct / 70 == history[-1]["test_accuracy"]
    assert evaluation.y_hat.dtype == np.float32


AFTER_BFLOAT16 = """
import sys
from dataclasses import replace
import d2l_alexnet
import mxnet as mx
from d2l_alexnet import precision
from d2l_alexnet.build import build_net, initialize, make_trainer
from d2l_alexnet.loop import train_batch
from d2l_alexnet.recipes import LECTURE
from d2l_alexnet.state import Training

for dtype in sys.argv[1:]:
    recipe = replace(LECTURE, resize=67, batch_size=8, dtype=dtype, lr=0.1)
    precision.prepare(dtype, [mx.cpu()])
    net = build_net(recipe)
    initialize(net, recipe, [mx.cpu()], seed=0)
    training = Training(net, make_trainer(net, recipe, steps=3), recipe, 0, [mx.cpu()])
    mx.random.seed(0)
    X, y = mx.nd.random.uniform(shape=(8, 1, 67, 67)), mx.nd.arange(8)
    for _ in range(3):
        train_batch(training, X, y)
    weights = [hash(p.data().asnumpy().tobytes()) for p in net.collect_params().values()]
    print(dtype, *weights)
"""


@needs_bfloat16
def test_a_float32_run_after_one_in_bfloat16_has_the_bits_of_a_fresh_process(python):
    same_hash = dict(PYTHONHASHSEED="0")
    later = python(AFTER_BFLOAT16, "bfloat16", "float32", **same_hash)
    fresh = python(AFTER_BFLOAT16, "float32", **same_hash)
    rounded, after = later.stdout.splitlines()
    assert [after] == fresh.stdout.splitlines()
    assert rounded.split()[1:] != after.split()[1:]


@needs_bfloat16
def test_several_devices_compute_in_bfloat16(small_data, tmp_path):
    one, two = (
        train(replace(SMALL, dropout=0, num_epochs=1), out=tmp_path / ctx, ctx=ctx, num_workers=0)
        for ctx in ("cpu:0", "cpu:0,1")
    )
    assert [row["loss"] for row in one] == pytest.approx([row["loss"] for row in two], rel=0.01)
    assert main(["--resume", str(tmp_path / "cpu:0,1"), "--epochs", "2", "--ctx", "cpu"])


@needs_bfloat16
def test_a_resumed_run_keeps_its_dtype(small_data, tmp_path, capsys):
    train(replace(SMALL, num_epochs=1), out=tmp_path, **QUIETLY)
    with pytest.raises(InputError, match="--dtype float32: cannot change when a run is resumed"):
        main(["--resume", str(tmp_path), "--dtype", "float32", "--epochs", "2"])
    assert "--dtype bfloat16" not in capsys.readouterr().out


@needs_bfloat16
def test_a_net_is_evaluated_in_float32_where_the_cpu_has_no_bfloat16(
    small_data, tmp_path, monkeypatch, capsys
):
    (row,) = train(replace(SMALL, num_epochs=1), out=tmp_path, **QUIETLY)
    monkeypatch.setattr(cpu, "instruction_sets", lambda: ["avx2"])
    net, _, _ = evaluate.load_net(tmp_path, "cpu")
    assert not isinstance(net, precision.BFloat16Sequential)
    assert "Evaluated in float32, but trained in bfloat16: this CPU has no " in (
        capsys.readouterr().out
    )


def test_a_cpu_without_the_instructions_is_refused_and_nothing_is_written(
    small_data, tmp_path, monkeypatch
):
    monkeypatch.setattr(cpu, "instruction_sets", lambda: ["avx2", "avx512f"])
    with pytest.raises(InputError, match="--dtype bfloat16: this CPU has no instructions for it"):
        train(SMALL, out=tmp_path / "run", **QUIETLY)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("instruction_sets", "environ", "reason"),
    [
        (["avx512f", "avx512_bf16"], {}, ""),
        (["avx512f", "avx512_bf16"], {"DNNL_MAX_CPU_ISA": "ALL"}, ""),
        (["avx512f", "avx512_bf16"], {"ONEDNN_MAX_CPU_ISA": "AVX512_CORE_BF16"}, ""),
        (["avx512f", "avx512_bf16"], {"ONEDNN_MAX_CPU_ISA": "avx2"}, "ONEDNN_MAX_CPU_ISA=avx2 "),
        (["avx512_bf16"], {"DNNL_MAX_CPU_ISA": "AVX512_CORE"}, "DNNL_MAX_CPU_ISA=AVX512_CORE "),
        (["avx2", "avx512f"], {}, "this CPU has no instructions for it (avx512_bf16); "),
        (["asimd", "bf16"], {}, "this CPU has no instructions for it"),  # ARM
        ([], {}, "this CPU has no instructions for it"),
    ],
)
def test_the_cpu_is_asked_not_its_name(instruction_sets, environ, reason):
    said = bfloat16_unsupported_reason(instruction_sets, environ)
    assert said.startswith(reason)
    assert bool(said) == bool(reason)


def test_each_kind_of_device_has_its_own_short_format():
    on_cpu, on_gpu = [mx.cpu()], [mx.gpu()]
    reason = "bfloat16 is for CPUs; use float16, or --ctx cpu"
    assert unsupported_reason("bfloat16", on_gpu) == reason
    reason = "float16 is for GPUs; use --ctx gpu, or another --dtype"
    assert unsupported_reason("float16", on_cpu) == reason
    assert unsupported_reason("float16", on_gpu) == unsupported_reason("float32", on_gpu) == ""
    with pytest.raises(InputError, match="^--dtype float16: float16 is for GPUs"):
        prepare("float16", [mx.cpu()])


def test_a_run_in_float32_names_the_flag_and_its_measured_gain(small_data, tmp_path, capsys):
    train(replace(SMALL, dtype="float32", num_epochs=1), out=tmp_path, **QUIETLY)
    said = capsys.readouterr().out
    line = "--dtype bfloat16 would be faster: on another such CPU a step was 1.8 times as fast\n"
    assert (line in said) == (not bfloat16_unsupported_reason())


@pytest.mark.parametrize("recipe", precision.SPEEDUP)
def test_the_speedup_that_a_run_announces_is_the_measured_one(recipe):
    name = "training" if recipe == "lecture" else f"training-{recipe}"
    log = Path(__file__).parents[1] / "results" / "benchmarks" / f"{name}.json"
    figures = json.loads(log.read_text())["images_per_second"]
    ratios = np.divide(figures["ours, bfloat16"], figures["ours"])
    assert precision.SPEEDUP[recipe] == pytest.approx(np.median(ratios), abs=0.06)
