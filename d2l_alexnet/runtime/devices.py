"""Choose the devices that MXNet computes on, or say why one cannot be used."""

from __future__ import annotations

import contextlib
import os
import re
from pathlib import Path
from typing import Any, Iterator, Sequence

from d2l_alexnet.errors import InputError, RunError
from d2l_alexnet.runtime import bootstrap, gpus


def choose_context(name: str = "auto") -> tuple[list[Any], str]:
    """Choose the MXNet contexts for ``--ctx``, and say why.

    Parameters
    ----------
    name : str
        ``auto`` (the GPU if there is a usable one), ``cpu``, ``gpu`` (``gpu:0``), ``gpu:N``, or
        several, ``gpu:0,1``. ``cpu:0,1`` uses the same cores twice: a test of several devices.

    Returns
    -------
    ctx : list of mxnet.Context
    why : str
        The reason for the choice, to be printed.

    Raises
    ------
    InputError
        For any other name, and for a GPU that does not exist or cannot be used. Only ``auto``
        switches to the CPU.
    """
    import mxnet as mx

    if not re.fullmatch(r"auto|(cpu|gpu)(:\d{1,3}(,\d{1,3})*)?", name):
        raise InputError(f"--ctx {name}: not a device; choose auto, cpu, gpu, gpu:N or gpu:N,M")
    if name == "auto":
        reason = _unsupported_reason([mx.gpu()])
        if reason:
            return [mx.cpu()], f"MXNet cannot use a GPU: {reason}"
        return [mx.gpu()], "a usable GPU was found"
    kind, _, numbers = name.partition(":")
    ctx = [mx.Context(kind, int(number)) for number in (numbers or "0").split(",")]
    if len(set(ctx)) < len(ctx):
        raise InputError(f"--ctx {name}: names a device twice")
    reason = _unsupported_reason(ctx) if kind == "gpu" else ""
    if reason:
        raise InputError(f"--ctx {name}: {reason}; use --ctx cpu, or auto")
    return ctx, "chosen with --ctx"


def _unsupported_reason(ctx: Sequence) -> str:
    """Return why MXNet cannot compute on one of these GPUs, in a clause; empty if it can."""
    found, reason = gpus.find()
    reasons = (reason or _unsupported_gpu(each, found) for each in ctx)
    return next(filter(None, reasons), "")


def _unsupported_gpu(ctx: Any, found: Sequence[gpus.GPU]) -> str:
    """Return why MXNet cannot compute on this GPU; empty if it can."""
    import mxnet as mx

    if ctx.device_id >= len(found):
        return f"the last GPU is gpu:{len(found) - 1}"
    reason = found[ctx.device_id].unsupported_reason()
    if reason:
        return reason
    if not mx.runtime.Features().is_enabled("CUDA"):
        return (
            f"there is a {found[ctx.device_id].name}, but this MXNet is the CPU build: "
            f"pip uninstall mxnet, then {bootstrap.how_to_install('cu112')}"
        )
    try:
        mx.nd.ones((1,), ctx=ctx).asnumpy()
    except mx.MXNetError as error:
        return str(error).strip().splitlines()[-1].strip()
    return ""


@contextlib.contextmanager
def explain_out_of_memory(ctx: Any, batch_size: int) -> Iterator[None]:
    """Replace MXNet's long out-of-memory error with one line.

    Raises
    ------
    RunError
        When a device runs out of memory. Other errors are not changed.
    """
    import mxnet as mx

    try:
        yield
    except mx.MXNetError as error:
        if not re.search(r"out of memory|[Aa]llocat|ALLOC_FAILED", str(error)):
            raise
        raise RunError(
            f"{ctx} ran out of memory with batches of {batch_size} images "
            f"({_free_memory(ctx) / 2**30:.1f} GiB free); use a smaller --batch-size or --resize"
        ) from error


def _free_memory(ctx: Any) -> int:
    """Return the free memory of a device, in bytes."""
    if ctx.device_type == "gpu":
        import mxnet as mx

        return mx.context.gpu_memory_info(ctx.device_id)[0]
    return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def describe(ctx: Sequence) -> str:
    """Return the names of the GPUs and the processor, and MXNet's number of threads."""
    found, _ = gpus.find() if ctx[0].device_type == "gpu" else ([], "")
    names = [found[device.device_id].name for device in ctx] if found else []
    processors = re.findall(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text())
    threads = os.environ.get("OMP_NUM_THREADS", "?")
    return ", ".join([*names, *processors[:1], f"{threads} thread{'s' * (threads != '1')}"])
