"""Build a recipe's net, initialize its weights, and make its trainer."""

from __future__ import annotations

from typing import Any, Sequence

import mxnet as mx
import numpy as np
from mxnet import gluon
from mxnet.contrib import amp

from d2l_alexnet import precision, schedule, shapes
from d2l_alexnet.data import DATA_SETS
from d2l_alexnet.errors import InputError
from d2l_alexnet.nets import NETS
from d2l_alexnet.recipes import Recipe


def input_shape(recipe: Recipe) -> tuple[int, int, int, int]:
    """Return the net's input shape for one image: (1, C, H, W)."""
    return (1, DATA_SETS[recipe.data].channels, recipe.crop, recipe.crop)


def build_net(recipe: Recipe) -> Any:
    """Build a recipe's net, without weights.

    Returns
    -------
    mxnet.gluon.nn.HybridSequential
        With one output per class of the data set.

    Raises
    ------
    InputError
        When the recipe's images are too small for the net.
    """
    net = NETS[recipe.net](len(DATA_SETS[recipe.data].classes), recipe.dropout)
    try:
        shapes.trace(net, input_shape(recipe))
    except InputError as error:
        raise InputError(f"--resize {recipe.resize}: {error}") from error
    return precision.in_bfloat16(net) if recipe.dtype == "bfloat16" else net


def initialize(net: Any, recipe: Recipe, ctx: Sequence, seed: int) -> None:
    """Initialize a net's weights on every device, and compile the net into one graph."""
    mx.random.seed(seed)
    np.random.seed(seed)
    initializer = mx.init.create(recipe.initializer, **recipe.initializer_params)
    net.infer_shape(mx.nd.zeros(input_shape(recipe)))
    net.initialize(initializer, ctx=ctx, force_reinit=True)
    net.hybridize(static_alloc=True, static_shape=True)


def make_trainer(net: Any, recipe: Recipe, steps: int, kvstore: Any = "device") -> Any:
    """Make the trainer of a net, with the recipe's optimizer and learning rate.

    Parameters
    ----------
    net : mxnet.gluon.Block
    recipe : Recipe
    steps : int
        Number of steps in the whole run.
    kvstore : str or mxnet.kv.KVStore
        Sums the gradients of all devices and workers.

    Returns
    -------
    mxnet.gluon.Trainer
    """
    settings = dict(learning_rate=recipe.lr, **recipe.optimizer_params)
    if recipe.decay:
        settings["lr_scheduler"] = schedule.warmup_and_decay(recipe, steps)
    # Devices and workers sum their gradients, and each updates its own copy of the weights.
    trainer = gluon.Trainer(
        net.collect_params(), recipe.optimizer, settings, kvstore, update_on_kvstore=False
    )
    if recipe.dtype == "float16":
        amp.init_trainer(trainer)
    return trainer
