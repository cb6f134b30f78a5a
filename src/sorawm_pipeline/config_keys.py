"""The dotted keys of a configuration, and what errors say about them."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from pathlib import Path

from pydantic import BaseModel
from pydantic_core import ErrorDetails

from sorawm_pipeline import marked_yaml

Spots = Mapping[marked_yaml.KeyPath, marked_yaml.Spot]

OLDER_NAMES: Mapping[str, str] = {
    "batch_size": "detect.batch",
    "use_fp16": "detect.half",
    "enable_batch_processing": "detect.batch",
    "frame_buffer_size": "temporal.window",
    "encoding_preset": "encode.preset",
    "enable_hw_accel": "encode.hardware",
    "max_workers": "service.workers",
}
"""What older programs of this kind call our keys; only used to suggest the right one."""


def section(model: type[BaseModel], name: str | int) -> type[BaseModel] | None:
    """The model of the section `name` of `model`; None if that is a plain value or not there."""
    found = model.model_fields.get(str(name))
    kind = found.annotation if found else None
    return kind if isinstance(kind, type) and issubclass(kind, BaseModel) else None


def keys(model: type[BaseModel], prefix: str = "") -> list[str]:
    """Every dotted key that a configuration may hold, in the order of the sections."""
    found: list[str] = []
    for name in model.model_fields:
        inner = section(model, name)
        found += keys(inner, f"{prefix}{name}.") if inner else [prefix + name]
    return found


def error_line(root: type[BaseModel], detail: ErrorDetails, spots: Spots) -> str:
    """One of pydantic's errors as `file:line:column: dotted.key: expected ..., found ...`."""
    path, expected = _known_part(root, detail)
    unknown = detail["type"] == "extra_forbidden"
    place = prefix(path, spots, key=unknown)
    item = isinstance(path[-1], int)
    dotted = ".".join(map(str, path[:-1] if item else path))
    if unknown:
        return f"{place}{dotted}: unknown key{_hint(root, path)}"
    if detail["type"] == "value_error" and isinstance(detail["input"], dict):
        return f"{place}{dotted}: {detail['msg'].removeprefix('Value error, ')}"
    return (
        f"{place}{dotted}: expected {expected}, found {found_text(detail['input'])}"
        f"{' in it' if item else ''}"
    )


def prefix(path: marked_yaml.KeyPath, spots: Spots, *, key: bool) -> str:
    """The place of `path`, or of the nearest value around it that was written down, as a prefix."""
    for length in range(len(path), 0, -1):
        if spot := spots.get(path[:length]):
            return (spot.key if key else spot.value) + ": "
    return ""


def _known_part(root: type[BaseModel], detail: ErrorDetails) -> tuple[marked_yaml.KeyPath, str]:
    """The path of an error without pydantic's names for union branches, and what belongs there."""
    model: type[BaseModel] | None = root
    path: marked_yaml.KeyPath = ()
    expected = "a mapping of keys"
    for part in detail["loc"]:
        if model is None:
            return ((*path, part) if isinstance(part, int) else path), expected
        path = (*path, part)
        if (info := model.model_fields.get(str(part))) is not None:
            expected = info.description or "a mapping of keys"
        model = section(model, part)
    return path, expected


def _hint(root: type[BaseModel], path: marked_yaml.KeyPath) -> str:
    """The known key that `path` probably means: near in spelling, or standing elsewhere."""
    dotted = ".".join(map(str, path))
    leaf = str(path[-1])
    elsewhere = [key for key in keys(root) if key.split(".")[-1] == leaf]
    model: type[BaseModel] = root
    for part in path[:-1]:
        model = section(model, part) or model
    near = difflib.get_close_matches(leaf, list(model.model_fields), n=1)
    found = [dotted.removesuffix(leaf) + name for name in near] or elsewhere
    found = found or [key for key in [OLDER_NAMES.get(leaf.lower(), "")] if key]
    if not found:
        leaves = {key.split(".")[-1]: key for key in keys(root)}
        found = [leaves[name] for name in difflib.get_close_matches(leaf, leaves, n=1)]
    if found:
        return f'; did you mean "{found[0]}"?'
    return f"; known here: {', '.join(model.model_fields)}"


def found_text(value: object) -> str:
    """`value` as a user would write it in YAML, shortened."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, dict):
        return "a mapping"
    if isinstance(value, list | tuple):
        return "a list" if value else "an empty list"
    text = f'"{value}"' if isinstance(value, str | Path) else repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
