"""YAML that remembers where every key stood, and refuses what a configuration never needs.

Only plain data is read: mappings, lists and the scalars of the YAML 1.2 core schema, in which `no`,
`12:30` and `010` are not a bool, a number of seconds and an eight. Tags, anchors, aliases, merge
keys, duplicate keys and second documents are errors. Nesting and size are bounded, and the parser
is driven event by event without recursion, so no input can exhaust the stack or the memory.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

import yaml

from sorawm_pipeline.errors import ConfigError

MAX_BYTES = 1 << 20
MAX_DEPTH = 16
MAX_SCALAR = 4096
MAX_NODES = 10_000

KeyPath = tuple[str | int, ...]
"""Keys and list indices that lead from the top to a value."""


@dataclass(frozen=True, slots=True)
class Spot:
    """Where a key and its value stand, each as `name:line:column`, counted from 1."""

    key: str
    value: str


@dataclass(slots=True)
class Marked:
    """Plain data and the spot of every key and list item in it."""

    data: Any = None
    spots: dict[KeyPath, Spot] = field(default_factory=dict)


@dataclass(slots=True)
class _Open:
    """A collection whose end has not come yet."""

    path: KeyPath
    container: dict[str, Any] | list[Any]
    key: str | None = None
    key_spot: str = ""


def read(text: str, name: str) -> Marked:
    """The one document in `text`; `name` is what errors call it.

    Raises:
        ConfigError: it is not YAML, or holds what this reader refuses.
    """
    try:
        return _Reader(name).read(text)
    except yaml.YAMLError as error:
        raise ConfigError(_syntax_error(error, text, name)) from error
    except UnicodeEncodeError as error:
        raise ConfigError(f"{name}: expected UTF-8 text, found a lone surrogate") from error


def read_file(path: Path) -> str:
    """The text of `path`.

    Raises:
        ConfigError: it cannot be read, is larger than MAX_BYTES or is not UTF-8.
    """
    try:
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else error
        raise ConfigError(f"{path}: cannot be read: {why}") from error
    if len(data) > MAX_BYTES:
        raise ConfigError(f"{path}: larger than 1 MiB; this is not a configuration")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        before = data[: error.start]
        line, column = before.count(b"\n") + 1, error.start - before.rfind(b"\n")
        raise ConfigError(
            f"{path}:{line}:{column}: expected UTF-8 text, found byte 0x{data[error.start]:02x}"
        ) from error


def override(marked: Marked, text: str) -> None:
    """Set one `dotted.key=value` in `marked`, whose data is a mapping.

    Lists and mappings are written in YAML's flow style; anything else is one plain scalar.

    Raises:
        ConfigError: it is not of that form.
    """
    where = f"--set {text}"
    dotted, equals, value = text.partition("=")
    path = tuple(part.strip() for part in dotted.split("."))
    if not equals or not all(path):
        raise ConfigError(f"{where}: expected dotted.key=value")
    value = value.strip()
    # Outside of quotes and brackets `a: b`, `*.mp4` and `#1` are text and need no quotes.
    flow = value[:1] in ("[", "{", '"', "'")
    parsed = read(value, where).data if flow else scalar(value)
    target: dict[str, Any] = marked.data
    for depth, part in enumerate(path[:-1], start=1):
        inner = target.get(part)
        if inner is None:
            inner = target[part] = {}
            marked.spots.setdefault(path[:depth], Spot(where, where))
        if not isinstance(inner, dict):
            owner = ".".join(path[:depth])
            raise ConfigError(f"{where}: {owner} holds a value, not keys")
        target = inner
    target[path[-1]] = parsed
    for spot in [spot for spot in marked.spots if spot[: len(path)] == path]:
        del marked.spots[spot]
    marked.spots[path] = Spot(where, where)


def scalar(text: str) -> bool | int | float | str | None:
    """The value of a plain scalar by the YAML 1.2 core schema."""
    if text in ("", "~", "null", "Null", "NULL"):
        return None
    if text in ("true", "True", "TRUE", "false", "False", "FALSE"):
        return text in ("true", "True", "TRUE")
    if len(text) <= 64:
        if re.fullmatch(r"[-+]?[0-9]+", text):
            return int(text)
        if re.fullmatch(r"0o[0-7]+|0x[0-9a-fA-F]+", text):
            return int(text, 0)
        if re.fullmatch(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?", text):
            return float(text)
        if re.fullmatch(r"[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)", text):
            return float(text.replace(".", ""))
    return text


_Node = yaml.ScalarEvent | yaml.CollectionStartEvent


class _Reader:
    def __init__(self, name: str) -> None:
        self.name = name
        self.result = Marked()
        self.open: list[_Open] = []
        self.faults: list[str] = []

    def read(self, text: str) -> Marked:
        documents = 0
        for event in _events(text):
            if isinstance(event, yaml.DocumentStartEvent):
                documents += 1
                if documents > 1:
                    self._refuse(event, "a second document; one file holds one configuration")
            elif isinstance(event, yaml.AliasEvent):
                self._refuse(event, "aliases (*name) are not supported; write the value out")
            elif isinstance(event, yaml.ScalarEvent | yaml.CollectionStartEvent):
                self._node(event)
            elif isinstance(event, yaml.CollectionEndEvent):
                self.open.pop()
        if self.faults:
            raise ConfigError("\n".join(self.faults))
        return self.result

    def _node(self, event: _Node) -> None:
        if event.anchor is not None:
            self._refuse(event, "anchors (&name) are not supported; write the value out")
        if event.tag is not None:
            self._refuse(event, f"tags ({event.tag}) are not supported")
        parent = self.open[-1] if self.open else None
        if parent is not None and isinstance(parent.container, dict) and parent.key is None:
            self._key(parent, event)
            return
        if isinstance(event, yaml.ScalarEvent):
            if len(event.value) > MAX_SCALAR:
                self._refuse(event, f"a value longer than {MAX_SCALAR} characters")
            # libyaml says '', Python's parser None, for a scalar without quotes
            self._put(parent, event, event.value if event.style else scalar(event.value))
            return
        if len(self.open) >= MAX_DEPTH:
            self._refuse(event, f"nested more than {MAX_DEPTH} levels deep")
        container: dict[str, Any] | list[Any] = (
            {} if isinstance(event, yaml.MappingStartEvent) else []
        )
        path = self._put(parent, event, container)
        self.open.append(_Open(path, container))

    def _key(self, parent: _Open, event: _Node) -> None:
        if not isinstance(event, yaml.ScalarEvent) or len(event.value) > MAX_SCALAR:
            self._refuse(event, "expected a name as key")
        parent.key, parent.key_spot = event.value, self._spot(event)

    def _put(self, parent: _Open | None, event: yaml.NodeEvent, value: object) -> KeyPath:
        spot = self._spot(event)
        if len(self.result.spots) >= MAX_NODES:
            self._refuse(event, f"more than {MAX_NODES} values")
        if parent is None:
            self.result.data = value
            self.result.spots[()] = Spot(spot, spot)
            return ()
        if isinstance(parent.container, list):
            path: KeyPath = (*parent.path, len(parent.container))
            parent.container.append(value)
            self.result.spots[path] = Spot(spot, spot)
            return path
        key = parent.key or ""
        path = (*parent.path, key)
        if key in parent.container:
            first = self.result.spots[path].key.rpartition(":")[0].rpartition(":")[2]
            self.faults.append(
                f"{parent.key_spot}: {'.'.join(map(str, path))}: duplicate key, "
                f"already given on line {first}"
            )
        else:
            parent.container[key] = value
            self.result.spots[path] = Spot(parent.key_spot, spot)
        parent.key = None
        return path

    def _spot(self, event: yaml.Event) -> str:
        mark = event.start_mark
        assert mark is not None  # only events made by hand have none
        return f"{self.name}:{mark.line + 1}:{mark.column + 1}"

    def _refuse(self, event: yaml.Event, why: str) -> NoReturn:
        raise ConfigError("\n".join([*self.faults, f"{self._spot(event)}: {why}"]))


def _events(text: str) -> Iterator[Any]:
    # libyaml is 10 times faster, but a wheel built without it must work too.
    loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    return yaml.parse(text, Loader=loader)


def _syntax_error(error: yaml.YAMLError, text: str, name: str) -> str:
    if isinstance(error, yaml.MarkedYAMLError) and error.problem_mark is not None:
        mark = error.problem_mark
        lines = text.splitlines()
        line = lines[mark.line] if mark.line < len(lines) else ""
        why = error.problem or "not valid YAML"
        if (
            line[mark.column : mark.column + 1] == "\t"
            or "\t" in line[: len(line) - len(line.lstrip())]
        ):
            why = "a tab in the indentation; YAML wants spaces"
        return f"{name}:{mark.line + 1}:{mark.column + 1}: {why}"
    if isinstance(error, yaml.reader.ReaderError):
        before = text[: error.position]
        line_number = before.count("\n") + 1
        return f"{name}:{line_number}:{error.position - before.rfind(chr(10))}: {error.reason}"
    return f"{name}: {error}"
