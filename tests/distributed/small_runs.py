"""What the tests of several processes share: small runs, their processes, and three hosts."""

import time
from pathlib import Path

from d2l_alexnet.distributed import rendezvous

# The lecture's net, a net that takes steps of milliseconds, and a net with batch normalization.
# Without dropout, because each worker has its own random numbers. With momentum, because a resumed
# run needs it.
NETS = """
from dataclasses import replace
import mxnet as mx
from mxnet.gluon import nn
from d2l_alexnet import nets, recipes

def small_net(num_classes, dropout):
    with mx.name.NameManager():
        net = nn.HybridSequential()
        net.add(nn.Conv2D(8, kernel_size=5, strides=2, activation="relu"), nn.Dense(num_classes))
    return net

nets.NETS["small"] = small_net
new = dict(dropout=0.0, optimizer_params=dict(momentum=0.9))
recipes.RECIPES["lecture"] = replace(recipes.LECTURE, **new)
recipes.RECIPES["quick"] = replace(recipes.LECTURE, name="quick", net="small", **new)
recipes.RECIPES["normalized"] = replace(
    recipes.LECTURE, name="normalized", net="convnet_cifar10", **new
)
"""
RUN = "cli.run(train.main)"
SETTINGS = ["--epochs", 2, "--batch-size", 24, "--num-workers", 1]
SMALL = ["--recipe", "quick", "--resize", 28, *SETTINGS]
HOSTS = ["192.0.2.1", "192.0.2.2", "192.0.2.3"]  # the namespaces have no other link
MARK = "PS_TEST"  # in the environment of all processes of a launch; the launcher sends it over ssh


def processes_of(mark):
    """Find the processes of a test's distributed runs: role and number → ids."""
    found = {}
    for path in Path("/proc").glob("[0-9]*/environ"):
        try:
            pairs = (pair.partition("=") for pair in path.read_text().split("\0"))
            variables = {name: value for name, _, value in pairs}
            state = (path.parent / "stat").read_text().rpartition(")")[2].split()[0]
        except OSError:  # it has just ended, or is another user's
            continue
        if variables.get(MARK) == mark and rendezvous.ROLE in variables and state != "Z":
            name = variables[rendezvous.ROLE] + variables.get(rendezvous.RANK, "")
            found.setdefault(name, []).append(int(path.parent.name))
    return found


def read_until(process, text):
    said = ""
    for line in process.stdout:
        said += line
        if text in line:
            return said
    raise AssertionError(said)


def assert_nothing_is_left(mark):
    deadline = time.monotonic() + 300
    while processes_of(mark):
        assert time.monotonic() < deadline, processes_of(mark)
        time.sleep(0.1)
