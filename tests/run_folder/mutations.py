"""Mutations of files: of their bytes, of the JSON in them, and of the arrays in them."""

import copy
import json

import numpy as np
from hypothesis import strategies as st

# A place in a file, a document or a list: how many millionths of it are before. Whole numbers are
# tried all over their range; of floats, 0 and 0.5 are tried far more often than others.
where = st.integers(0, 999_999)


def at(where, length):
    return where * length // 1_000_000


def several(*each):
    return st.lists(st.tuples(*each), min_size=1, max_size=3)


changes_of_bytes = several(
    st.sampled_from(["flip", "set", "cut", "insert", "repeat"]),
    where,
    st.binary(min_size=1, max_size=9),
)


def mutate_bytes(data, changes):
    for kind, where, content in changes:
        i = at(where, len(data))
        if kind == "flip":
            flipped = bytes(byte ^ 1 << content[0] % 8 for byte in data[i : i + 1])
            data = data[:i] + flipped + data[i + 1 :]
        elif kind == "set":
            data = data[:i] + content + data[i + len(content) :]
        elif kind == "cut":
            data = data[:i] + data[i + content[0] :]
        elif kind == "insert":
            data = data[:i] + content + data[i:]
        else:
            data = data[:i] + data[i:] * 2
    return data


class Pairs(list):
    """An object of JSON as pairs of a name and a value. So a name can be there twice."""


class Raw(str):
    """Text that is written as it is."""


SPECIAL = [
    *(0, 1, -1, 2, 2**31, 2**63, 10**400, 0.5, 1e39, 1e308, float("nan"), float("inf"), True, None),
    *("", "\n", "\ud800", "float16", "cifar10", "lenet", [], {}, [{}], [None], [[1.0]]),
    *("sgd", "adam", "lbsgd", "dcasgd", "ftml", "test", "one", "xavier", "mixed", "fusedrnn"),
    *(Raw("[" * 100_000), Raw('{"a": ' * 100_000), Raw("[" * 500 + "]" * 500)),
    *(Raw("1e999"), Raw("9" * 5_000), Raw("NaN, 1"), Raw("")),
]
NAMES = ["epoch", "loss", "valid_accuracy", "skipped", "loss_scaler", "channels", "published", "lr"]

values = st.one_of(
    st.sampled_from(SPECIAL),
    st.integers(0, 9),
    st.floats(0, 1),
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9),
        lambda each: (
            st.lists(each, max_size=3) | st.dictionaries(st.text(max_size=9), each, max_size=3)
        ),
        max_leaves=5,
    ),
)
changes_of_json = several(
    st.sampled_from(["replace", "drop", "add", "rename", "repeat"]),
    where,
    st.sampled_from(NAMES) | st.text(max_size=9),
    values,
)


def parse(text):
    return json.loads(text, object_pairs_hook=Pairs)


def parse_strictly(text):
    """Parse JSON, and fail where a name is twice in an object: it says two things."""

    def unique(pairs):
        assert len(dict(pairs)) == len(pairs), pairs
        return dict(pairs)

    return json.loads(text, object_pairs_hook=unique)


def dumps(document):
    if isinstance(document, Raw):
        return document
    if isinstance(document, Pairs):
        return f"{{{', '.join(f'{json.dumps(k)}: {dumps(v)}' for k, v in document)}}}"
    if isinstance(document, list):
        return f"[{', '.join(map(dumps, document))}]"
    return json.dumps(document)


def mutate_json(document, changes):
    """Change an object or a list of JSON that is made of `Pairs` and lists."""
    document = copy.deepcopy(document)
    for kind, where, name, value in changes:
        places = list(_places(document))
        if not places:
            break
        container, i = places[at(where, len(places))]
        pairs, value = isinstance(container, Pairs), copy.deepcopy(value)
        if kind == "replace":
            container[i] = (container[i][0], value) if pairs else value
        elif kind == "drop":
            del container[i]
        elif kind == "add":
            container.insert(i, (name, value) if pairs else value)
        elif kind == "repeat":
            container.insert(i, copy.deepcopy(container[i]))
        elif pairs:
            container[i] = (name, container[i][1])
    return document


def _places(document):
    """List all items of all objects and lists: each by what it is in, and its index."""
    if isinstance(document, list):
        for i, item in enumerate(document):
            yield document, i
            yield from _places(item[1] if isinstance(document, Pairs) else item)


changes_of_arrays = several(
    st.sampled_from(["set", "dtype", "shape", "drop", "add", "rename", "repeat"]),
    where,
    st.sampled_from(["0.weight", "1.running_var", "state", "", "x"]),
    st.sampled_from(["<f8", "<f2", "i1", "u1", "<i4", "<i8"]),
    st.floats(width=32) | st.sampled_from([-1.0, 0.0, float("nan"), float("inf")]),
)


def mutate_arrays(arrays, changes):
    """Change a list of pairs of a name and an array."""
    arrays = list(arrays)
    for kind, where, other, dtype, value in changes:
        if not arrays:
            break
        i = at(where, len(arrays))
        name, array = arrays[i]
        if kind == "set":
            array = array.copy()
            with np.errstate(all="ignore"):
                array.flat[:1] = np.asarray(value).astype(array.dtype)
            arrays[i] = name, array
        elif kind == "dtype":
            with np.errstate(all="ignore"):
                arrays[i] = name, array.astype(dtype)
        elif kind == "shape":
            arrays[i] = name, np.concatenate([array, array]) if value > 0 else array[None]
        elif kind == "drop":
            del arrays[i]
        elif kind == "add":
            arrays.insert(i, (other, array))
        elif kind == "repeat":
            arrays.insert(i, arrays[i])
        else:
            arrays[i] = other, array
    return arrays
