"""Values of our own classes as files, and back: what a stage knows, what it found.

Like pickle, but closed: only classes that are declared here come back, and no code runs. A class
is declared as a `value`, which is rebuilt from its fields, or as a holder by naming its changing
attributes in `STATE`; a holder is built as usual and then given them.

Objects that are one before are one afterwards. Arrays keep dtype and shape.
"""

from __future__ import annotations

import io
import json
from collections import deque
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any, TypeVar
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

Cls = TypeVar("Cls", bound=type)
Array = NDArray[Any]

_VALUES: dict[str, type] = {}
_NAMES: dict[type, str] = {}
_BROKEN = (
    *(ValueError, KeyError, TypeError, IndexError, AttributeError, EOFError),
    *(BadZipFile, NotImplementedError, RecursionError),
)
_PLAIN = (bool, int, float, str, type(None))


class SnapshotError(ValueError):
    """A file is not what `dumped` wrote, or of another version."""


def value(cls: Cls) -> Cls:
    """Declare a dataclass or named tuple, whose fields are all there is to it."""
    name = f"{cls.__module__.rpartition('.')[2]}.{cls.__name__}"
    if name in _VALUES:
        raise ValueError(f"two values are called {name}")
    _VALUES[name], _NAMES[cls] = cls, name
    return cls


def dumped(what: object) -> bytes:
    """`what` as the bytes of an .npz file.

    Raises:
        TypeError: something in it is of a class that is not declared.
    """
    writer = _Writer()
    tree = json.dumps(writer.tree(what), allow_nan=False, separators=(",", ":"))
    arrays = {f"a{number}": array for number, array in enumerate(writer.arrays)}
    file = io.BytesIO()
    np.savez(file, tree=np.frombuffer(tree.encode(), np.uint8), **arrays)  # type: ignore[arg-type]
    return file.getvalue()


def loaded(data: bytes | Path, into: object | None = None) -> Any:
    """What `dumped` made bytes of.

    Args:
        data: those bytes, or the file that holds them.
        into: the holder to give its state back to, if a holder was dumped.

    Raises:
        SnapshotError: they are something else.
        OSError: the file cannot be read.
    """
    try:
        with (
            io.BytesIO(data) if isinstance(data, bytes) else data.open("rb") as raw,
            np.load(raw) as file,
        ):
            arrays = {name: file[name] for name in file.files}
        tree = json.loads(bytes(arrays.pop("tree")))
        return _Reader(arrays).value(tree, into)
    except _BROKEN as error:
        raise SnapshotError(f"not a snapshot of this version: {error}") from error


def _fields(cls: type) -> tuple[str, ...]:
    if is_dataclass(cls):
        return tuple(field.name for field in fields(cls))
    return tuple(getattr(cls, "_fields", ()) or getattr(cls, "STATE", ()))


class _Writer:
    """Turns values into what JSON can hold: a list is itself, all else of note a tagged one."""

    def __init__(self) -> None:
        self.arrays: list[Array] = []
        self._array_numbers: dict[int, int] = {}
        self._numbers: dict[int, int] = {}
        self._kept: list[object] = []

    def tree(self, what: object) -> object:
        if isinstance(what, np.generic):
            what = what.item()
        if type(what) in _PLAIN:
            return what
        if isinstance(what, np.ndarray):
            return {"a": self._array(what)}
        if type(what) in (list, tuple, deque, set, frozenset):
            return self._many(what)
        if isinstance(what, Mapping):
            return {"m": [[self.tree(key), self.tree(one)] for key, one in what.items()]}
        if isinstance(what, bytes):
            return {"b": what.hex()}
        if isinstance(what, Fraction):
            return {"q": [what.numerator, what.denominator]}
        if type(what) in _NAMES:
            return self._object(what)
        if hasattr(type(what), "STATE"):
            return {"s": [self.tree(getattr(what, name)) for name in _fields(type(what))]}
        raise TypeError(f"{type(what).__name__} is not declared to be stored")

    def _many(self, what: Any) -> object:
        items = [self.tree(one) for one in what]
        if isinstance(what, list):
            return items
        if isinstance(what, deque):
            return {"d": items, "n": what.maxlen}
        return {"t" if isinstance(what, tuple) else "f": items}

    def _array(self, what: Array) -> int:
        if id(what) not in self._array_numbers:
            self._array_numbers[id(what)] = len(self.arrays)
            self.arrays.append(what)
        return self._array_numbers[id(what)]

    def _object(self, what: object) -> object:
        if id(what) in self._numbers:
            return {"r": self._numbers[id(what)]}
        parts = [self.tree(getattr(what, name)) for name in _fields(type(what))]
        self._numbers[id(what)] = len(self._kept)
        self._kept.append(what)  # or another one could get its id
        return {"v": _NAMES[type(what)], "p": parts}


class _Reader:
    def __init__(self, arrays: Mapping[str, Array]) -> None:
        self._arrays = arrays
        self._objects: list[object] = []

    def value(self, tree: Any, into: object | None = None) -> Any:
        if isinstance(tree, list):
            return [self.value(one) for one in tree]
        if not isinstance(tree, dict):
            return tree
        kind = next(iter(tree))
        match kind:
            case "a":
                return self._arrays[f"a{int(tree['a'])}"]
            case "t":
                if isinstance(into, tuple):  # of holders
                    return tuple(map(self.value, tree["t"], into))
                return tuple(self.value(one) for one in tree["t"])
            case "f":
                return frozenset(self.value(one) for one in tree["f"])
            case "d":
                return deque((self.value(one) for one in tree["d"]), maxlen=tree["n"])
            case "m":
                return {self.value(key): self.value(one) for key, one in tree["m"]}
            case "b":
                return bytes.fromhex(tree["b"])
            case "q":
                return Fraction(*tree["q"])
            case "r":
                return self._objects[tree["r"]]
            case "v":
                return self._object(tree)
            case "s":
                return self._held(tree["s"], into)
        raise SnapshotError(f"unknown tag {kind!r}")

    def _object(self, tree: Any) -> object:
        cls = _VALUES[tree["v"]]
        names = _fields(cls)
        parts = [self.value(one) for one in tree["p"]]
        if len(parts) != len(names):
            raise SnapshotError(f"{tree['v']} has other fields now")
        built = cls(**dict(zip(names, parts, strict=True)))
        self._objects.append(built)
        return built

    def _held(self, parts: list[Any], into: object | None) -> object:
        if into is None:
            raise SnapshotError("a state needs the holder it belongs to")
        names = _fields(type(into))
        if len(parts) != len(names):
            raise SnapshotError(f"{type(into).__name__} has other state now")
        for name, tree in zip(names, parts, strict=True):
            setattr(into, name, self.value(tree, getattr(into, name)))
        return into
