"""The list of pulled models: what lies in the user's data folder, from where, with which digest."""

from __future__ import annotations

import fcntl
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from sorawm_pipeline.errors import ModelError
from sorawm_pipeline.media.target import write_error
from sorawm_pipeline.report import write_json
from sorawm_pipeline.vision.weights import digest_of

NAME = r"[a-z0-9][a-z0-9._-]{0,63}"
ModelName = Annotated[str, StringConstraints(pattern=f"^{NAME}$")]
Digest = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
Format = Literal["onnx", "torchscript", "tensorrt", "pickle"]

SUFFIX_OF: dict[Format, str] = {
    "onnx": ".onnx",
    "torchscript": ".torchscript",
    "tensorrt": ".engine",
    "pickle": ".pt",
}
FORMAT_OF: dict[str, Format] = {suffix: kind for kind, suffix in SUFFIX_OF.items()}


class Pulled(BaseModel):
    """One pulled file: where it came from and what it must be."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    url: str
    sha256: Digest
    bytes: Annotated[int, Field(ge=0)]
    format: Format

    def path(self, name: str) -> Path:
        return models_folder() / f"{name}{SUFFIX_OF[self.format]}"


class Registry(BaseModel):
    """The file `models.json` in the folder of pulled models."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    version: Literal[1] = 1
    models: dict[ModelName, Pulled] = Field(default_factory=dict)


def models_folder() -> Path:
    """Where pulled models live, by the XDG rules."""
    base = os.environ.get("XDG_DATA_HOME") or "~/.local/share"
    return Path(base).expanduser() / "sorawm-pipeline" / "models"


def pulled() -> dict[str, Pulled]:
    """Every pulled model by name.

    Raises:
        ModelError: the registry cannot be read.
    """
    path = models_folder() / "models.json"
    try:
        return dict(Registry.model_validate_json(path.read_bytes()).models)
    except FileNotFoundError:
        return {}
    except (OSError, ValidationError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not what it should be"
        raise ModelError(f"{path} cannot be read: {reason}") from error


def save(models: Mapping[str, Pulled]) -> None:
    """Write the registry, whole or not at all; only while it is locked.

    Raises:
        OutputError: the folder cannot be written.
    """
    write_json(models_folder() / "models.json", Registry(models=dict(models)))


def name_is_good(name: str) -> bool:
    """Whether a pulled model may be called so."""
    return name != "builtin" and re.fullmatch(NAME, name) is not None


def check_digest(path: Path, sha256: str) -> None:
    """Raises ModelError: the file is missing or has another SHA-256."""
    if not path.is_file():
        raise ModelError(f"{path} is missing: pull it again", kind="missing")
    if digest_of(path) != sha256:
        raise ModelError(f"{path} was changed since it was pulled: pull it again")


@contextmanager
def registry_locked() -> Iterator[None]:
    """Two pulls at once must not forget each other's model."""
    path = models_folder() / ".lock"
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise write_error(path, error) from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
