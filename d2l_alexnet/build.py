"""Build a recipe's net, initialize its weights, and make its trainer."""

from __future__ import annotations

import dataclasses
import reprlib
from typing import Any, Callable, Mapping, Sequence

import mxnet as mx
import numpy as np
from mxnet import gluon
from mxnet.contrib import amp

from d2l_alexnet import precision, schedule, shapes
from d2l_alexnet.data import DATA_SETS
from d2l_alexnet.errors import InputError
from d2l_alexnet.nets import NETS
from d2l_alexnet.recipes import Recipe
from d2l_alexnet.validation import check_fields, is_valid

# Arguments of every optimizer that the trainer and the checkpoints set.
SET_BY_TRAINER = {
    "learning_rate", "lr_scheduler", "param_dict", "param_idx2name", "sym", "begin_num_update",
    "multi_precision",
}  # fmt: skip


def check_recipe(recipe: Recipe) -> None:
    """Check all settings of a recipe.

    Raises
    ------
    InputError
        When a value has another type or is out of its range, or a name is unknown, or two settings
        contradict each other. The message is part of a line.
    """
    check_fields(vars(recipe), dataclasses.fields(Recipe))
    if recipe.net not in NETS:
        raise InputError(f"there is no net {reprlib.repr(recipe.net)}")
    if recipe.data not in DATA_SETS:
        raise InputError(f"there is no data set {reprlib.repr(recipe.data)}")
    dataset = DATA_SETS[recipe.data]
    if recipe.train_size > dataset.train_size:
        raise InputError(
            f"--train-size {recipe.train_size}: there are {dataset.train_size:,} training images "
            f"in {recipe.data}"
        )
    for name in recipe.optimizer_params.keys() & SET_BY_TRAINER:
        raise InputError(f"{name} cannot be in optimizer_params")
    check_fields(recipe.plateau, dataclasses.fields(schedule.Plateau))
    if recipe.plateau and not dataset.valid_fraction:
        raise InputError(f"plateau: {recipe.data} has no validation images")
    if recipe.plateau and recipe.decay:
        raise InputError("plateau and decay both set the learning rate; omit one of them")
    params = dict(recipe.optimizer_params, learning_rate=recipe.lr)
    _check_by_trying("initializer", _try_initializer, recipe.initializer, recipe.initializer_params)
    _check_by_trying("optimizer", _try_optimizer, recipe.optimizer, params)


def _check_by_trying(what: str, attempt: Callable, name: str, params: Mapping[str, Any]) -> None:
    """Raise `InputError` if MXNet does not take a name and parameters."""
    refused = InputError(
        f"MXNet cannot use {what} {reprlib.repr(name)} with {reprlib.repr(params)}"
    )
    if not all(map(_is_plain, params.values())):
        raise refused
    try:
        with np.errstate(all="raise", under="ignore"):
            attempt(name, params)
    except Exception as error:  # MXNet checks them late, and raises anything
        raise refused from error


def _is_plain(value: Any) -> bool:
    """Say whether a value is a number, a string, true, false or null."""
    return value is None or any(is_valid(value, kind, {}) for kind in (bool, float, str))


def _try_initializer(name: str, params: Mapping[str, Any]) -> None:
    initializer = mx.init.create(name, **params)
    for shape in ((2, 2, 2, 2), (2, 2)):
        array = mx.nd.zeros(shape)
        initializer(mx.init.InitDesc("weight"), array)
        if not np.isfinite(array.asnumpy()).all():
            raise ValueError("NaN or infinity")


def _try_optimizer(name: str, params: Mapping[str, Any]) -> None:
    optimizer = mx.optimizer.create(name, **params)
    update, weight = mx.optimizer.get_updater(optimizer), mx.nd.ones((2, 2))
    for _ in range(2):
        update(0, mx.nd.ones((2, 2)), weight)
    weight.wait_to_read()


def input_shape(recipe: Recipe) -> tuple[int, int, int, int]:
    """Return the net's input shape for one image: (1, C, H, W)."""
    return (1, DATA_SETS[recipe.data].channels, recipe.crop, recipe.crop)


def build_net(recipe: Recipe) -> Any:
    """Build a recipe's net, without weights.

    Parameters
    ----------
    recipe : Recipe

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
    """Initialize a net's weights on every device, and compile the net into one graph.

    Parameters
    ----------
    net : mxnet.gluon.HybridBlock
    recipe : Recipe
    ctx : list of mxnet.Context
    seed : int
        Of MXNet's and of NumPy's random numbers.
    """
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
