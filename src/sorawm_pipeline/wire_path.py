"""Paths as JSON: percent-encoded, as they may be any bytes."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated
from urllib.parse import quote_from_bytes, unquote_to_bytes

from pydantic import PlainSerializer, PlainValidator


def _path(value: object) -> Path:
    return value if isinstance(value, Path) else Path(os.fsdecode(unquote_to_bytes(str(value))))


WirePath = Annotated[
    Path, PlainValidator(_path), PlainSerializer(lambda path: quote_from_bytes(os.fsencode(path)))
]
