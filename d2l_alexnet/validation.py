"""Check that values have the types and ranges of their fields, for flags, files and callers.

A field declares its range with `d2l_alexnet.options.option` or `limited`.
"""

from __future__ import annotations

import dataclasses
import json
import operator
import reprlib
import sys
from typing import Any, Iterable, Mapping, Sequence

from d2l_alexnet.errors import InputError

LIMITS = {  # of a number: how to say them, and how to check them
    "minimum": ("at least", operator.ge),
    "above": ("above", operator.gt),
    "maximum": ("at most", operator.le),
    "below": ("below", operator.lt),
}
KINDS: dict[type, str] = {
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    str: "a string",
    list: "a list",
    dict: "an object",
}


def is_valid(value: Any, kind: type, limits: Mapping[str, Any]) -> bool:
    """Return whether a value has a type and is in a range.

    Parameters
    ----------
    value : object
    kind : type
        A float may also be a whole number, and must be finite. A bool is not a number.
    limits : dict
        ``minimum``, ``maximum``, ``above``, ``below`` and ``choices``; other keys are ignored.

    Returns
    -------
    bool
    """
    types = (int, float) if kind is float else (kind,)
    right_type = isinstance(value, types) and isinstance(value, bool) == (kind is bool)
    if not right_type:
        return False
    if kind is float and not abs(value) <= sys.float_info.max:  # also NaN
        return False
    if value not in limits.get("choices", [value]):
        return False
    return all(check(value, limits[key]) for key, (_, check) in LIMITS.items() if key in limits)


def describe(kind: type, limits: Mapping[str, Any]) -> str:
    """Say which values are valid: "a whole number that is at least 1 and at most 9"."""
    if "choices" in limits:
        return "one of " + ", ".join(limits["choices"])
    words = [f"{say} {limits[key]}" for key, (say, _) in LIMITS.items() if key in limits]
    name = KINDS.get(kind, f"a {kind.__name__}")
    return f"{name} that is {' and '.join(words)}" if words else name


def check_fields(
    values: Any, fields: Iterable[dataclasses.Field], required: Sequence[str] = ()
) -> None:
    """Check that values are right for the fields of a dataclass.

    Parameters
    ----------
    values : dict of str to value
        Such as an object of a JSON file.
    fields : iterable of dataclasses.Field
        The type of a field's default is the type of its values.
    required : sequence of str
        Fields that must be there.

    Raises
    ------
    InputError
        When a value has another type or is out of its range, a field is missing, or a name is
        unknown. The message is part of a line.
    """
    if not isinstance(values, dict):
        raise InputError(f"{reprlib.repr(values)} is not an object with names and values")
    for name in required:
        if name not in values:
            raise InputError(f"{name} is missing")
    known = {field.name: field for field in fields}
    for name, value in values.items():
        if name not in known:
            raise InputError(f"{reprlib.repr(name)} is unknown")
        kind, limits = _kind(known[name]), known[name].metadata
        if not is_valid(value, kind, limits):
            raise InputError(f"{name} is {reprlib.repr(value)}, not {describe(kind, limits)}")


def check_numbers(name: str, values: Any) -> None:
    """Check that a value is a list of finite numbers; raise `InputError` if it is not."""
    if not isinstance(values, list) or not all(is_valid(value, float, {}) for value in values):
        raise InputError(f"{name} is {reprlib.repr(values)}, not a list of numbers")


def _kind(field: dataclasses.Field) -> type:
    """Return the type of a field's values; a field without a default is a string."""
    if field.default_factory is not dataclasses.MISSING:
        return type(field.default_factory())
    if field.default is None:  # a path, if it is given
        return object
    return str if field.default is dataclasses.MISSING else type(field.default)


def parse_json(text: str) -> Any:
    """Parse JSON strictly: no NaN, no name twice in an object, no very deep nesting.

    Raises
    ------
    ValueError
        When the text is not JSON of this kind.
    """
    try:
        return json.loads(text, parse_constant=_refuse_constant, object_pairs_hook=_unique)
    except RecursionError as error:
        raise InputError("the JSON is nested too deeply") from error


def _refuse_constant(name: str) -> None:
    raise InputError(f"{name} is not a finite number")


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values = dict(pairs)
    if len(values) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise InputError(f"{reprlib.repr(twice)} occurs twice")
    return values
