"""Which GPUs there are and whether MXNet's last wheels can use them, asked of NVIDIA's driver.

The driver is asked in a process of its own, which is this file run as a script: MXNet forks
workers, and a process that has talked to the driver must not be forked.
"""

from __future__ import annotations

import ctypes
import json
import subprocess
import sys
from dataclasses import dataclass

DRIVER = "libcuda.so.1"
OLDEST, NEWEST = (5, 0), (9, 0)  # the newest is the first that does not work
IN_THE_WHEEL = "5.0, 6.0, 7.0, 8.0 and 8.6, and none that a driver could translate (PTX)"
OLDEST_DRIVER = (11, 0)  # the CUDA version that a driver must know for CUDA 11.2's libraries
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
        Its memory.
    driver : tuple of int
        The newest CUDA that the driver knows, major and minor.
    """

    name: str
    capability: tuple
    mebibytes: int
    driver: tuple

    def trouble(self):
        """Say in a clause why MXNet 1.9.1 cannot compute on it; an empty string if it can."""
        if not OLDEST <= self.capability < NEWEST:
            return (
                f"the {self.name} has compute capability {_dotted(self.capability)}; MXNet 1.9.1 "
                f"has machine code for {IN_THE_WHEEL}, so it runs on 5.0 to 8.9"
            )
        if self.driver < OLDEST_DRIVER:
            return (
                f"the driver knows CUDA up to {_dotted(self.driver)}, and the libraries need "
                f"{_dotted(OLDEST_DRIVER)}: install a newer driver"
            )
        return ""

    def __str__(self):
        return (
            f"{self.name}, compute capability {_dotted(self.capability)}, {self.mebibytes:,} MiB, "
            f"driver for CUDA {_dotted(self.driver)}"
        )


def _dotted(version):
    return ".".join(map(str, version))


def find():
    """List the GPUs that the driver shows, ``CUDA_VISIBLE_DEVICES`` respected.

    Returns
    -------
    gpus : list of GPU
        In the order in which MXNet counts them.
    trouble : str
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
    return gpus, answer["trouble"]


def ask_driver():
    """Ask the driver in this process; give what `find` reads, as it goes into JSON."""
    try:
        cuda = ctypes.CDLL(DRIVER)
    except OSError:
        return dict(gpus=[], driver=[], trouble=f"no NVIDIA driver ({DRIVER})")
    status = cuda.cuInit(0)
    if status:
        return dict(gpus=[], driver=[], trouble=f"no GPU: {_name_of_error(cuda, status)}")
    version = _number(cuda.cuDriverGetVersion)
    count = _number(cuda.cuDeviceGetCount)
    return dict(
        gpus=[_describe(cuda, index) for index in range(count)],
        driver=[version // 1000, version % 1000 // 10],
        trouble="" if count else "the driver shows no GPU",
    )


def _describe(cuda, index):
    device = _number(cuda.cuDeviceGet, index)
    name, memory = ctypes.create_string_buffer(256), ctypes.c_size_t()
    _check(cuda.cuDeviceGetName(name, len(name), device))
    _check(cuda.cuDeviceTotalMem_v2(ctypes.byref(memory), device))
    return dict(
        name=name.value.decode(),
        capability=[_number(cuda.cuDeviceGetAttribute, part, device) for part in CAPABILITY],
        mebibytes=memory.value // 2**20,
    )


def _number(function, *arguments):
    """Call a function of the driver that gives a number by its first argument."""
    number = ctypes.c_int()
    _check(function(ctypes.byref(number), *arguments))
    return number.value


def _check(status):
    if status:
        raise OSError(f"CUDA error {status}")


def _name_of_error(cuda, status):
    text = ctypes.c_char_p()
    cuda.cuGetErrorString(status, ctypes.byref(text))
    return text.value.decode() if text.value else f"CUDA error {status}"


if __name__ == "__main__":
    print(json.dumps(ask_driver()))
