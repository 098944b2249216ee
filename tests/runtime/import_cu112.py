"""Import the real mxnet-cu112 with pip's libraries alone and a stand-in for NVIDIA's driver.

``make test-cu112`` installs 3.7 GB into a separate environment and runs this script there. The
stand-in has no GPU, so the script does not show whether a real one computes.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
from importlib.util import find_spec
from pathlib import Path

COMMANDS = {
    "import": [
        "-c",
        "import d2l_alexnet, mxnet as mx; "
        "print('MXNet', mx.__version__, 'CUDA', mx.runtime.Features().is_enabled('CUDA'), "
        "'GPUs', mx.context.num_gpus(), 'sum', mx.nd.ones((2, 3)).sum().asscalar())",
    ],
    "environment": ["-m", "d2l_alexnet.collect_env"],
    "refusal": ["-m", "d2l_alexnet.train", "--ctx", "gpu"],
}


def build_stand_in(folder: str) -> None:
    """Build a libcuda.so.1 with every function of the driver that MXNet refers to."""
    spec = find_spec("mxnet")
    assert spec and spec.origin
    library = Path(spec.origin).parent / "libmxnet.so"
    listed = subprocess.run(
        ["nm", "-D", "--undefined-only", library], stdout=subprocess.PIPE, text=True, check=True
    )
    names = {"cuInit", *re.findall(r" U (cu[A-Z]\w+)", listed.stdout)} - {"cuGetErrorString"}
    code = "".join(f"int {name}(void) {{ return 100; }}\n" for name in sorted(names))
    code += 'int cuGetErrorString(int s, const char **t) { *t = "no device"; return 0; }\n'
    target = Path(folder, "libcuda.so.1")
    subprocess.run(["gcc", "-shared", "-fPIC", "-x", "c", "-", "-o", target], input=code, text=True)
    print(f"stand-in for libcuda.so.1 with {len(names) + 1} functions")


def main() -> None:
    """Run the commands and print their output; end with status 1 if a status is unexpected."""
    good = True
    with tempfile.TemporaryDirectory() as folder:
        build_stand_in(folder)
        for name, arguments in COMMANDS.items():
            print(f"$ python {' '.join(arguments)}", flush=True)
            done = subprocess.run(
                [sys.executable, *arguments],
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                env={**os.environ, "LD_LIBRARY_PATH": folder},
            )
            print(f"{done.stdout}(status {done.returncode})\n", flush=True)
            good &= done.returncode == (2 if name == "refusal" else 0)
    sys.exit(not good)


if __name__ == "__main__":
    main()
