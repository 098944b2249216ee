"""Damaged files of every kind: a reader gives what it should or one clear line, nothing else.

``python -m pytest tests/run_folder/test_fuzz.py --hypothesis-profile long -s`` tries thousands of
files for each reader and prints how many.
"""

import collections
import gzip
import hashlib
import json

import mxnet as mx
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from d2l_alexnet.data.fashion_mnist import IdxFile
from d2l_alexnet.history import read_history, write_history
from d2l_alexnet.options import RunOptions
from d2l_alexnet.recipes import LECTURE
from d2l_alexnet.run_folder import checkpoint
from d2l_alexnet.run_folder.params import read_params
from d2l_alexnet.run_folder.settings import SETTINGS, read_settings, write_settings
from d2l_alexnet.state import State

VALUES = np.arange(12, dtype=np.uint8).reshape(3, 4)
RAW = bytes([0, 0, 8, 2, 0, 0, 0, 3, 0, 0, 0, 4]) + VALUES.tobytes()
IDX = IdxFile("values.gz", (3, 4), hashlib.sha256(RAW).hexdigest())


def idx(path):
    path.write_bytes(gzip.compress(RAW))
    return lambda: IDX.read(path).tolist()


def checkpoints(path):
    arrays = dict(weight=np.arange(6.0), bias=np.ones(2, np.float32))
    record = json.dumps(dict(state=vars(State(steps=3)), arrays=sorted(arrays)))
    state = np.frombuffer(record.encode(), np.uint8)
    with path.open("wb") as file:
        np.savez(file, state=state, **arrays)

    def read():
        state, arrays = checkpoint.read(path)
        return state, sorted((name, array.tolist()) for name, array in arrays.items())

    return read


def params(path):
    mx.nd.save(str(path), {"0.weight": mx.nd.ones((2, 3)), "0.bias": mx.nd.zeros((2,))})
    return lambda: {name: array.shape for name, array in read_params(path).items()}


def history(path):
    write_history(path, LECTURE.published)
    return lambda: [row["epoch"] for row in read_history(path)]


def run_settings(path):
    write_settings(path.parent, LECTURE, RunOptions(), [mx.cpu()], num_workers=2)
    (path.parent / SETTINGS).rename(path)
    path.parent.joinpath(SETTINGS).symlink_to(path)
    return lambda: read_settings(path.parent)


# For a reader whose files carry a checksum, what it accepts is what was written.
READERS = {idx: True, checkpoints: True, params: False, history: False, run_settings: False}

changes = st.lists(
    st.tuples(
        st.sampled_from(["flip", "set", "cut", "insert", "repeat"]),
        st.floats(0, 1, exclude_max=True),
        st.binary(min_size=1, max_size=9),
    ),
    min_size=1,
    max_size=4,
)


def damaged(data, changes):
    for kind, where, content in changes:
        at = int(where * len(data))
        if kind == "flip":
            flipped = bytes(byte ^ 1 << content[0] % 8 for byte in data[at : at + 1])
            data = data[:at] + flipped + data[at + 1 :]
        elif kind == "set":
            data = data[:at] + content + data[at + len(content) :]
        elif kind == "cut":
            data = data[:at] + data[at + content[0] :]
        elif kind == "insert":
            data = data[:at] + content + data[at:]
        else:
            data = data[:at] + data[at:] * 2
    return data


@pytest.mark.parametrize("reader", READERS, ids=lambda reader: reader.__name__)
def test_damaged_files(reader, tmp_path):
    path = tmp_path / "file"
    read = reader(path)
    good, expected, seen = path.read_bytes(), read(), collections.Counter()

    @given(changes)
    def try_one(changes):
        path.write_bytes(damaged(good, changes))
        try:
            value = read()
        except ValueError as error:  # InputError is one
            assert "\n" not in str(error)
            seen["refused"] += 1
        else:
            assert value == expected or not READERS[reader]
            seen["accepted"] += 1

    try_one()
    print(f"\n{reader.__name__}: {sum(seen.values())} damaged files, {dict(seen)}, no crash")
    assert seen["refused"] > seen["accepted"]
