"""Every error this program raises on purpose.

PipelineError             one sentence that a person can act on
├── ConfigError           the YAML, a --set or an argument is wrong; nothing was touched
├── InputError            this file cannot be read as a video we handle
├── OutputError           the result cannot be written where it was asked for
├── ModelError            weights are missing, changed or not what they claim to be
├── DeviceError           a GPU, a codec or memory failed and there is no way around it
└── StageError            a stage broke; wraps the cause and names the stage
"""

from __future__ import annotations

import re
from typing import ClassVar

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")


class PipelineError(Exception):
    """Base of all errors raised on purpose.

    Attributes:
        kind: short machine-readable word for the report (`unreadable`, `no_space`, ...).
        stage: name of the stage in which it happened, or None outside the corridor.
    """

    default_kind: ClassVar[str] = "internal"

    def __init__(self, message: str, *, kind: str | None = None, stage: str | None = None) -> None:
        super().__init__(message)
        self.kind = kind or self.default_kind
        self.stage = stage

    @property
    def message(self) -> str:
        """The sentence, with control characters (a file name may hold any) made visible."""
        return _CONTROL.sub(lambda found: f"\\x{ord(found[0]):02x}", str(self.args[0]))


class ConfigError(PipelineError):
    """Several wrong keys are several lines."""

    default_kind = "config"

    @property
    def message(self) -> str:
        return "\n".join(PipelineError(line).message for line in str(self.args[0]).split("\n"))


class InputError(PipelineError):
    default_kind = "unreadable"


class OutputError(PipelineError):
    default_kind = "output"


class ModelError(PipelineError):
    default_kind = "model"


class DeviceError(PipelineError):
    default_kind = "device"


class StageError(PipelineError):
    """A stage failed; `__cause__` is the original error, `item` the first item at hand."""

    def __init__(
        self, message: str, *, stage: str, item: int | None = None, kind: str | None = None
    ) -> None:
        super().__init__(message, kind=kind, stage=stage)
        self.item = item
