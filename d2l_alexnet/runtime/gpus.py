"""List the GPUs that NVIDIA's driver shows, and say whether MXNet 1.9.1 can use them.

The driver is queried in a separate process, which runs this file as a script. MXNet forks loader
workers, and a process that has initialized the driver must not be forked. A script's folder comes
first on Python's module path. So no file in this folder may have the name of a standard module.
"""

from __future__ import annotations

import ctypes
import json
import subprocess
import sys
from dataclasses import dataclass
from typing import Any, Callable

DRIVER = "libcuda.so.1"
# MXNet 1.9.1 contains machine code for compute capability 5.0, 6.0, 7.0, 8.0 and 8.6. It contains
# no PTX code, which a driver could translate for newer GPUs. The maximum is excluded.
MIN_CAPABILITY, MAX_CAPABILITY = (5, 0), (9, 0)
SECONDS = 60  # for an answer of the driver; usually it takes less than one
MIN_DRIVER = (11, 0)  # the CUDA version that the driver must support for CUDA 11.2's libraries
CAPABILITY = 75, 76  # CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR and _MINOR


@dataclass(frozen=True)
class GPU:
    """A GPU that the driver shows to this process.

    Parameters
    ----------
    name : str
    capability : tuple of int
        Compute capability, major and minor.
    mebibytes : int
        Size of its memory.
    driver : tuple of int
        The newest CUDA version that the driver supports, major and minor.
    """

    name: str
    capability: tuple[int, int]
    mebibytes: int
    driver: tuple[int, int]

    def unsupported_reason(self) -> str:
        """Return why MXNet 1.9.1 cannot compute on this GPU, in a clause; empty if it can."""
        if not MIN_CAPABILITY <= self.capability < MAX_CAPABILITY:
            return (
                f"the {self.name} has compute capability {_dotted(self.capability)}; MXNet 1.9.1 "
                "supports compute capability 5.0 to 8.9 only"
            )
        if self.driver < MIN_DRIVER:
            return (
                f"the driver supports CUDA up to {_dotted(self.driver)}, but MXNet needs "
                f"{_dotted(MIN_DRIVER)}: install a newer driver"
            )
        return ""

    def __str__(self) -> str:
        return (
            f"{self.name}, compute capability {_dotted(self.capability)}, {self.mebibytes:,} MiB, "
            f"driver for CUDA {_dotted(self.driver)}"
        )


def _dotted(version: tuple[int, int]) -> str:
    return ".".join(map(str, version))


def find() -> tuple[list[GPU], str]:
    """List the GPUs that the driver shows. It respects ``CUDA_VISIBLE_DEVICES``.

    Returns
    -------
    gpus : list of GPU
        In MXNet's order.
    reason : str
        Why there are none, in a clause; empty if there are some.
    """
    command = [sys.executable, __file__]
    try:
        query = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS)
    except (OSError, subprocess.TimeoutExpired) as error:
        return [], f"the NVIDIA driver query failed ({error})"
    if query.returncode:
        last = (query.stderr.strip().splitlines() or [f"exit status {query.returncode}"])[-1]
        return [], f"the NVIDIA driver query failed ({last})"
    answer = json.loads(query.stdout)
    gpus = [
        GPU(each["name"], tuple(each["capability"]), each["mebibytes"], tuple(answer["driver"]))
        for each in answer["gpus"]
    ]
    return gpus, answer["reason"]


def ask_driver() -> dict[str, Any]:
    """Query the driver in this process. `find` receives the result as JSON."""
    try:
        cuda = ctypes.CDLL(DRIVER)
    except OSError:
        return dict(gpus=[], driver=[], reason=f"no NVIDIA driver ({DRIVER})")
    status = cuda.cuInit(0)
    if status:
        return dict(gpus=[], driver=[], reason=f"no GPU: {_error_text(cuda, status)}")
    version = _number(cuda.cuDriverGetVersion)
    count = _number(cuda.cuDeviceGetCount)
    return dict(
        gpus=[_describe(cuda, index) for index in range(count)],
        driver=[version // 1000, version % 1000 // 10],
        reason="" if count else "the driver shows no GPU",
    )


def _describe(cuda: ctypes.CDLL, index: int) -> dict[str, Any]:
    device = _number(cuda.cuDeviceGet, index)
    name, memory = ctypes.create_string_buffer(256), ctypes.c_size_t()
    _check(cuda.cuDeviceGetName(name, len(name), device))
    _check(cuda.cuDeviceTotalMem_v2(ctypes.byref(memory), device))
    return dict(
        name=name.value.decode(),
        capability=[_number(cuda.cuDeviceGetAttribute, part, device) for part in CAPABILITY],
        mebibytes=memory.value // 2**20,
    )


def _number(function: Callable[..., int], *arguments: int) -> int:
    """Call a function of the driver that writes a number to its first argument."""
    number = ctypes.c_int()
    _check(function(ctypes.byref(number), *arguments))
    return number.value


def _check(status: int) -> None:
    if status:
        raise OSError(f"CUDA error {status}")


def _error_text(cuda: ctypes.CDLL, status: int) -> str:
    text = ctypes.c_char_p()
    cuda.cuGetErrorString(status, ctypes.byref(text))
    return text.value.decode() if text.value else f"CUDA error {status}"


if __name__ == "__main__":
    print(json.dumps(ask_driver()))
