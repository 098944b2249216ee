"""MXNet 1.9.1 on current machines: imports, cores, devices, GPUs, signals."""
