"""Mutated files of every kind: a reader gives what the file says or one clear line, nothing else.

``python -m pytest tests/run_folder/test_fuzz.py --hypothesis-profile long -s`` tries 100,000 files
and prints how many each reader has refused.
"""

import collections
import dataclasses
import gzip
import hashlib
import io
import json
import struct
import time
import zipfile

import mutations
import mxnet as mx
import numpy as np
import pytest
from hypothesis import given
from mxnet import autograd, gluon

from d2l_alexnet.data.fashion_mnist import IdxFile
from d2l_alexnet.errors import InputError
from d2l_alexnet.history import read_history, write_history
from d2l_alexnet.options import RunOptions
from d2l_alexnet.recipes import CIFAR10_CONVNET, Recipe
from d2l_alexnet.run_folder import checkpoint
from d2l_alexnet.run_folder.params import HEADER, LIST_MAGIC, TYPES, load_params, save_params
from d2l_alexnet.run_folder.settings import ADDED, SETTINGS, read_settings, write_settings
from d2l_alexnet.state import State

ROW = dict(
    epoch=1,
    loss=2.0,
    running_train_accuracy=0.5,
    valid_accuracy=0.5,
    test_accuracy=0.25,
    learning_rate=0.1,
    seconds=9.0,
    images_per_second=5.0,
)
ROWS = [ROW, dict(ROW, epoch=2, loss=1.5)]


def canonical(values):
    """Tell 1, 1.0 and true apart, as ``==`` does not."""
    return json.dumps(values, sort_keys=True)


def assert_like(value, example):
    """Fail where a value has another type than in a good file, or is not finite."""
    if isinstance(example, dict):
        for name in value.keys() & example.keys():
            assert_like(value[name], example[name])
    elif isinstance(example, list):
        assert isinstance(value, list)
        for each in value if example else []:
            assert_like(each, example[0])
    elif isinstance(example, float):
        assert type(value) in (int, float)
        assert np.isfinite(value)
    else:
        assert type(value) is type(example)


class Case:
    """A file, its mutations, what its reader gives, and what the file says.

    The last one is found in another way than the reader's, and only asked when the file has been
    accepted. A reader that fills a net leaves it unchanged when it refuses the file.
    """

    def __init__(self, folder):
        self.folder, self.path = folder, folder / "file"
        self.make()
        self.good = self.path.read_bytes()

    def make(self):
        """Write the file as the package writes it."""
        raise NotImplementedError

    changes = mutations.changes_of_bytes
    refusal: type = InputError

    def write(self, changes):
        self.path.write_bytes(mutations.mutate_bytes(self.good, changes))

    def read(self):
        raise NotImplementedError

    def says(self):
        raise NotImplementedError

    def before(self):
        """What may not be changed by a file that is refused."""


class Idx(Case):
    """A file of images, whose checksum is known."""

    VALUES = np.arange(12, dtype=np.uint8).reshape(3, 4)
    RAW = bytes([0, 0, 8, 2, 0, 0, 0, 3, 0, 0, 0, 4]) + VALUES.tobytes()
    refusal = ValueError  # of which the caller makes a line that names the file
    FILE = IdxFile("values.gz", (3, 4), hashlib.sha256(RAW).hexdigest())

    def make(self):
        self.path.write_bytes(gzip.compress(self.RAW))

    def read(self):
        return self.FILE.read(self.path).tolist()

    def says(self):
        return self.VALUES.tolist()


class History(Case):
    """history.jsonl, in which bytes are changed."""

    def make(self):
        write_history(self.path, ROWS)

    def read(self):
        rows = read_history(self.path)
        assert_like(rows, ROWS)
        return canonical(rows)

    def says(self):
        return canonical([*map(mutations.parse_strictly, self.path.read_text().splitlines())])


class HistoryJson(History):
    """history.jsonl, in which the values of JSON are changed."""

    changes = mutations.changes_of_json

    def write(self, changes):
        rows = mutations.mutate_json([*map(mutations.parse, self.good.splitlines())], changes)
        self.path.write_text("".join(f"{mutations.dumps(row)}\n" for row in rows))


class Settings(Case):
    """args.json, in which bytes are changed."""

    def make(self):
        self.path = self.folder / SETTINGS
        write_settings(self.folder, CIFAR10_CONVNET, RunOptions(seed=3), [mx.cpu()], num_workers=2)

    def read(self):
        recipe, options = read_settings(self.folder)
        values = {k: v for k, v in vars(recipe).items() if k != "published"}
        assert_like(values, vars(CIFAR10_CONVNET))
        return canonical([values, options.seed, options.explain_gap])

    def says(self):
        settings = mutations.parse_strictly(self.path.read_text())
        recipe = {name: value for name, value in vars(Recipe("")).items() if name in ADDED}
        recipe.update(settings["recipe"])
        recipe.pop("channels", None)
        return canonical([recipe, settings["seed"], settings["explain_gap"]])


class SettingsJson(Settings):
    """args.json, in which the values of JSON are changed."""

    changes = mutations.changes_of_json

    def write(self, changes):
        document = mutations.mutate_json(mutations.parse(self.good), changes)
        self.path.write_text(mutations.dumps(document))


def make_net():
    with mx.name.NameManager():  # the same names for every net, as checkpoints know them by name
        net = gluon.nn.HybridSequential()
        net.add(gluon.nn.Dense(2, in_units=3), gluon.nn.BatchNorm(in_channels=2))
    net.initialize(mx.init.Normal(1))
    return net


def listed(named):
    return {name: (str(array.dtype), array.tolist()) for name, array in named}


def assert_weights(arrays):
    for name, (dtype, values) in arrays.items():
        assert dtype == "float32"
        assert np.isfinite(values).all()
        assert "running_var" not in name or min(values) >= 0


class Params(Case):
    """net.params, in which bytes are changed."""

    def make(self):
        self.net = make_net()
        save_params(make_net(), self.path)
        self.written = self.says_mxnet()

    def before(self):
        weights = self.net._collect_params_with_prefix().items()
        return listed((name, parameter.data().asnumpy()) for name, parameter in weights)

    def read(self):
        load_params(self.net, self.path, [mx.cpu()])
        assert_weights(self.before())
        return self.before()

    def says(self):
        has_checksum = any(self.path.read_bytes()[8:16])
        return self.written if has_checksum else self.says_mxnet()

    def says_mxnet(self):
        arrays = mx.nd.load(str(self.path)).items()
        return listed((name, array.asnumpy()) for name, array in arrays)


def params_file(arrays):
    """Make the bytes of a .params file, as MXNet does; an array may be there twice."""
    parts = [struct.pack("<Q", len(arrays))]
    for _, array in arrays:
        kind = TYPES.index(array.dtype)
        parts.append(struct.pack("<IiI", 0xF993FAC9, 0, array.ndim))
        parts.append(struct.pack(f"<{array.ndim}q", *array.shape))
        parts.append(struct.pack("<iii", 1, 0, kind) + array.tobytes())
    parts.append(struct.pack("<Q", len(arrays)))
    for name, _ in arrays:
        parts.append(struct.pack("<Q", len(name)) + name.encode())
    return struct.pack(HEADER, LIST_MAGIC, 0) + b"".join(parts)


class ParamsArrays(Params):
    """net.params as MXNet writes it, without a checksum, in which arrays are changed."""

    changes = mutations.changes_of_arrays

    def write(self, changes):
        arrays = [(name, np.array(v, dtype)) for name, (dtype, v) in self.written.items()]
        self.path.write_bytes(params_file(mutations.mutate_arrays(arrays, changes)))


class Checkpoint(Case):
    """A checkpoint, in which bytes are changed."""

    SETTINGS = dict(dataclasses.asdict(CIFAR10_CONVNET), seed=3, explain_gap=False)
    OF_RUN = {k: v for k, v in SETTINGS.items() if k not in ("name", "published")}
    STATE = State(3, 2, 1, 5, [0.5, 1.0], 0.5, 0.25, [ROW], [2.0, 2.5, 1.0])  # 2 steps an epoch

    def make(self):
        self.net, self.trainer = self.begin()
        net, trainer = self.begin()
        with autograd.record():
            net(mx.nd.ones((5, 3))).sum().backward()
        trainer.step(5)
        checkpoint.save(self.folder, net, trainer, self.STATE, self.OF_RUN)
        (self.path,) = checkpoint.find(self.folder)
        arrays = dict(np.load(self.path))
        self.record = mutations.parse(bytes(arrays.pop("state")))
        self.arrays = [*arrays.items()]

    def begin(self):
        net = make_net()
        return net, gluon.Trainer(net.collect_params(), "adam", dict(learning_rate=0.1))

    def before(self):
        weights = self.net.collect_params().items()
        return listed((name, parameter.data().asnumpy()) for name, parameter in weights)

    def read(self):
        state, _ = checkpoint.load(self.folder, self.net, self.trainer, settings=self.OF_RUN)
        assert self.trainer.optimizer.num_update == state.steps - state.skipped
        named = checkpoint._named_arrays(self.net, self.trainer, 0).items()
        arrays = listed((name, array.asnumpy()) for name, array in named)
        assert_weights(arrays)
        assert (state.skipped, state.loss_scaler) == (0, {})  # as always in float32
        assert_like(dataclasses.asdict(state), dataclasses.asdict(self.STATE))
        return arrays, canonical(dataclasses.asdict(state))

    def says(self):
        return listed(self.arrays), canonical(dataclasses.asdict(self.STATE))


class CheckpointJson(Checkpoint):
    """A checkpoint with right checksums, in which the values of JSON are changed."""

    changes = mutations.changes_of_json

    def write(self, changes):
        document = mutations.mutate_json(self.record, changes)
        self.pack(self.arrays, mutations.dumps(document))

    def pack(self, arrays, record):
        self.text = record
        state = "state", np.frombuffer(record.encode(), np.uint8)
        with zipfile.ZipFile(self.path, "w") as file:
            for name, array in [*arrays, state]:
                member = io.BytesIO()
                np.save(member, array)
                file.writestr(f"{name}.npy", member.getvalue())

    def says(self):
        values = mutations.parse_strictly(self.text)["state"]
        return listed(self.arrays), canonical({**dict(skipped=0, loss_scaler={}), **values})


class CheckpointArrays(CheckpointJson):
    """A checkpoint with right checksums, in which arrays are changed."""

    changes = mutations.changes_of_arrays

    def write(self, changes):
        self.changed = mutations.mutate_arrays(self.arrays, changes)
        names = sorted({name for name, _ in self.changed})
        record = [(k, names if k == "arrays" else v) for k, v in self.record]
        self.pack(self.changed, mutations.dumps(mutations.Pairs(record)))

    def says(self):
        assert len({name for name, _ in self.changed}) == len(self.changed)
        return listed(self.changed), canonical(dataclasses.asdict(self.STATE))


CASES = [
    *(Idx, History, HistoryJson, Settings, SettingsJson, Params, ParamsArrays),
    *(Checkpoint, CheckpointJson, CheckpointArrays),
]


@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize("kind", CASES, ids=lambda kind: kind.__name__)
def test_mutated_files(kind, tmp_path):
    case, seen, slowest = kind(tmp_path), collections.Counter(), [0.0]
    case.write([])
    assert case.read() == case.says()

    @given(case.changes)
    def try_one(changes):
        case.write(changes)
        before, start = case.before(), time.perf_counter()
        try:
            value = case.read()
        except case.refusal as error:
            line = str(error)
            assert len(line.splitlines()) == 1
            line.encode()
            assert case.before() == before
            seen["refused"] += 1
        else:
            assert value == case.says()
            seen["accepted"] += 1
        slowest[0] = max(slowest[0], time.perf_counter() - start)

    try_one()
    print(
        f"\n{kind.__name__}: {sum(seen.values()):,} files, {seen['refused']:,} refused, "
        f"{seen['accepted']:,} accepted, the slowest took {slowest[0]:.2f} s"
    )
    assert seen["refused"]
