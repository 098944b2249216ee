"""The instruction sets of this CPU."""

from __future__ import annotations

import contextlib
from pathlib import Path

# MXNet's library for CPUs, oneDNN, chooses its kernels by them.
# Different kernels can round differently.
INSTRUCTION_SETS = (
    "sse4_1", "avx", "avx2", "fma", "avx_vnni",
    "avx512f", "avx512bw", "avx512dq", "avx512vl", "avx512_vnni", "avx512_bf16", "avx512_fp16",
    "amx_tile", "amx_int8", "amx_bf16",
    "asimd", "asimdhp", "sve", "sve2", "bf16",  # Arm
)  # fmt: skip


def instruction_sets(cpuinfo: str | Path = "/proc/cpuinfo") -> list[str]:
    """List which of `INSTRUCTION_SETS` the CPU has; none where the kernel does not say it.

    Parameters
    ----------
    cpuinfo : path
    """
    with contextlib.suppress(OSError), Path(cpuinfo).open() as lines:
        for line in lines:
            key, _, names = line.partition(":")
            if key.strip() in ("flags", "Features"):
                return [name for name in INSTRUCTION_SETS if name in names.split()]
    return []
