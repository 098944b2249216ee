"""List the GPUs that NVIDIA's driver shows, and say whether MXNet 1.9.1 can use them.

The driver is queried in a process of its own, which runs this file as a script. MXNet forks
workers, and a process that has initialized the driver must not be forked. As a script this file has
its folder on the module path, so no file beside it may have the name of a standard module.
"""

from __future__ import annotations

import ctypes
import json
import subprocess
import sys
from dataclasses import dataclass
from typing import Any, Callable

DRIVER = "libcuda.so.1"
MIN_CAPABILITY, MAX_CAPABILITY = (5, 0), (9, 0)  # the maximum is excluded
MACHINE_CODE = "5.0, 6.0, 7.0, 8.0 and 8.6, and none that a driver could translate (PTX)"
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
        """Say in a clause why MXNet 1.9.1 cannot compute on it; an empty string if it can."""
        if not MIN_CAPABILITY <= self.capability < MAX_CAPABILITY:
            return (
                f"the {self.name} has compute capability {_dotted(self.capability)}; MXNet 1.9.1 "
                f"has machine code for {MACHINE_CODE}, so it runs on 5.0 to 8.9"
            )
        if self.driver < MIN_DRIVER:
            return (
                f"the driver knows CUDA up to {_dotted(self.driver)}, and the libraries need "
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
    """List the GPUs that the driver shows; it respects ``CUDA_VISIBLE_DEVICES``.

    Returns
    -------
    gpus : list of GPU
        In the order in which MXNet counts them.
    reason : str
        Why there are none, in a clause; empty if there are some.
    """
    asked = subprocess.run([sys.executable, __file__], capture_output=True, text=True)
    if asked.returncode:
        last = (asked.stderr.strip().splitlines() or [f"status {asked.returncode}"])[-1]
        return [], f"NVIDIA's driver cannot be asked ({last})"
    answer = json.loads(asked.stdout)
    gpus = [
        GPU(each["name"], tuple(each["capability"]), each["mebibytes"], tuple(answer["driver"]))
        for each in answer["gpus"]
    ]
    return gpus, answer["reason"]


def ask_driver() -> dict[str, Any]:
    """Query the driver in this process; return what `find` reads from JSON."""
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
