"""The number format that a net computes in: float32, bfloat16 on a CPU or float16 on a GPU.

In all three, weights, their updates, losses, logits and accuracies are float32.
"""

from __future__ import annotations

import os
from typing import Any, Mapping, Sequence

import mxnet as mx
import numpy as np
from mxnet.contrib import amp
from mxnet.gluon import nn

from d2l_alexnet.errors import InputError
from d2l_alexnet.runtime import cpu, memory

BFLOAT16 = np.dtype([("bfloat16", np.uint16)])  # MXNet's name for it; NumPy has no such type
IN_BFLOAT16 = (nn.Conv2D, nn.Dense)
IN_EITHER = (nn.MaxPool2D, nn.BatchNorm, nn.LeakyReLU)  # other layers have no bfloat16 kernels

# Variables that restrict oneDNN to an instruction set, and the sets without bfloat16.
RESTRICTED_TO = ("ONEDNN_MAX_CPU_ISA", "DNNL_MAX_CPU_ISA")
WITHOUT_BFLOAT16 = (
    "SSE41", "AVX", "AVX2", "AVX2_VNNI",
    "AVX512_MIC", "AVX512_MIC_4OPS", "AVX512_CORE", "AVX512_CORE_VNNI",
)  # fmt: skip

# How many times as fast as in float32 a recipe's training step is: medians measured by
# benchmarks/step.py on two cores of a Zen 5, see results/benchmarks/training*.txt.
SPEEDUP = {"lecture": 1.8, "quick": 1.6}


class BFloat16Sequential(nn.HybridSequential):
    """A sequence of layers. Its convolutions and dense layers compute in bfloat16.

    A bfloat16 has the exponent of a float32 and 8 of its 24 significant bits. The products of such
    numbers are summed in float32. Weights are float32 and are rounded in every step, so that small
    updates are not lost. The input and the output are float32. `mxnet.contrib.amp` is not used: it
    changes MXNet's operators for the whole process, and returns logits in bfloat16. The `argmax`
    of bfloat16 is wrong in MXNet 1.9.1.
    """

    def hybrid_forward(self, F: Any, X: Any) -> Any:
        """Compute the output of the last layer, in float32."""
        rounded = False  # whether X is bfloat16
        activation = None  # of the last layer, still to be computed
        for layer in self._children.values():
            # The maximum of ReLUs is the ReLU of the maximum, and pooling leaves a quarter of the
            # values: this saves 2 % of a training step of AlexNet.
            if activation and not isinstance(layer, nn.MaxPool2D):
                X, activation = activation(X), None
            if isinstance(layer, IN_BFLOAT16):
                X = X if rounded else F.amp_cast(X, dtype=BFLOAT16)
                X, rounded, activation = _compute(F, layer, X), True, layer.act
                continue
            if rounded and not isinstance(layer, IN_EITHER):
                X, rounded = F.amp_cast(X, dtype="float32"), False
            X = layer(X)
        X = activation(X) if activation else X
        return F.amp_cast(X, dtype="float32") if rounded else X


def _compute(F: Any, layer: Any, X: Any) -> Any:
    """Compute a layer without its activation, with its weights rounded to bfloat16."""
    params = layer._reg_params.values()
    values = [p.data(X.context) if F is mx.nd else p.var() for p in params]
    arrays = [X, *(F.amp_cast(value, dtype=BFLOAT16) for value in values)]
    if isinstance(layer, nn.Conv2D):
        return F.Convolution(*arrays, **layer._kwargs)
    options = dict(no_bias=layer.bias is None, flatten=layer._flatten)
    return F.FullyConnected(*arrays, num_hidden=layer._units, **options)


def in_bfloat16(net: Any) -> BFloat16Sequential:
    """Return a net with the same layers and the same weights that computes in bfloat16.

    Parameters
    ----------
    net : mxnet.gluon.nn.HybridSequential
        Takes and returns float32.
    """
    rounded = BFloat16Sequential(prefix=net.prefix)
    rounded.add(*net)
    return rounded


def prepare(dtype: str, ctx: Sequence) -> None:
    """Check that the devices compute in a format, and prepare the process for it.

    float16 changes MXNet's operators for the whole process. bfloat16 changes how the process
    allocates memory.

    Parameters
    ----------
    dtype : str
        ``float32``, ``float16`` or ``bfloat16``.
    ctx : list of mxnet.Context

    Raises
    ------
    InputError
        For float16 on a CPU, and for bfloat16 on a GPU or on a CPU without the instructions.
    """
    reason = unsupported_reason(dtype, ctx)
    if reason:
        raise InputError(f"--dtype {dtype}: {reason}")
    if dtype == "float16":
        amp.init()
    elif dtype == "bfloat16":
        memory.keep_freed_memory()


def unsupported_reason(dtype: str, ctx: Sequence) -> str:
    """Return why the devices cannot compute in a format, and what to do; empty if they can."""
    on_gpu = ctx[0].device_type == "gpu"
    if dtype == "float16" and not on_gpu:
        return "float16 is for GPUs; use --ctx gpu, or another --dtype"
    if dtype == "bfloat16" and on_gpu:
        return "bfloat16 is for CPUs; use float16, or --ctx cpu"
    return bfloat16_unsupported_reason() if dtype == "bfloat16" else ""


def bfloat16_unsupported_reason(
    instruction_sets: Sequence[str] | None = None, environ: Mapping[str, str] = os.environ
) -> str:
    """Return why this CPU does not multiply bfloat16, and what to do; empty if it does.

    Parameters
    ----------
    instruction_sets : sequence of str, optional
        See `d2l_alexnet.runtime.cpu.instruction_sets`; this CPU's if not given.
    environ : mapping
        The environment, which can restrict oneDNN to fewer instruction sets.
    """
    if instruction_sets is None:
        instruction_sets = cpu.instruction_sets()
    if "avx512_bf16" not in instruction_sets:  # a CPU with amx_bf16 has it, too
        return "this CPU has no instructions for it (avx512_bf16); use float32"
    for name in RESTRICTED_TO:
        if environ.get(name, "").upper() in WITHOUT_BFLOAT16:
            return f"{name}={environ[name]} disables its instructions; unset it, or use float32"
    return ""
