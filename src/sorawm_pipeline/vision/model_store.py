"""Weights of other people: pulled into the user's data folder, known by name and digest."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from urllib.parse import urlsplit

from pydantic import ValidationError

from sorawm_pipeline.config_sections import DetectConfig
from sorawm_pipeline.errors import ConfigError, ModelError, PipelineError
from sorawm_pipeline.media.target import TEMPORARY_PREFIX, Target, write_error
from sorawm_pipeline.vision.download import check_url, download
from sorawm_pipeline.vision.model_registry import (
    FORMAT_OF,
    Format,
    Pulled,
    check_digest,
    models_folder,
    name_is_good,
    pulled,
    registry_locked,
    save,
)
from sorawm_pipeline.vision.weights import (
    BUILTIN_KINDS,
    Weights,
    builtin_files,
    builtin_weights,
    find_weights,
    manifest,
)


@dataclass(frozen=True, slots=True)
class Listed:
    """One weights file as `models list` and `models verify` tell of it.

    Attributes:
        name: of the model; a built-in one has several files.
        format: of the file.
        bytes: its length as published.
        sha256: its hex digest as published.
        where: `built in`, or the file's path.
        error: why it is not that file any more; None if it is, or was not checked.
    """

    name: str
    format: str
    bytes: int
    sha256: str
    where: str
    error: str | None = None


def pulled_or_path(source: Path) -> Path:
    """The file of a pulled model of that name, checked, else the path as it is.

    Raises:
        ModelError: the pulled file is missing or was changed.
    """
    name = str(source)
    if name_is_good(name) and (model := pulled().get(name)) is not None:
        path = model.path(name)
        check_digest(path, model.sha256)
        return path
    return source


def weights_for(wanted: DetectConfig, device: str) -> Weights:
    """The detector's weights as configured: built in, a pulled model by its name, or a path.

    A pulled model comes before a file of the same name in the current folder, and must have the
    digest that it had when it was pulled, whatever else is pinned.

    Raises:
        ModelError: missing, not the file that was pinned, or a pickle that is not allowed.
    """
    source, name, pinned = wanted.weights, str(wanted.weights), wanted.sha256
    if source != "builtin" and name_is_good(name):
        if (model := pulled().get(name)) is not None:
            source = model.path(name)
            check_digest(source, model.sha256)
        elif not Path(name).exists():
            raise ModelError(
                f"no weights at {name}, and no pulled model is called so", kind="missing"
            )
    weights = find_weights(
        source,
        device=device,
        sha256=pinned,
        allow_pickle=wanted.allow_pickle,
    )
    if pinned is not None and weights.sha256 != pinned.lower():
        raise ModelError(
            f"{weights.path} is not the file that detect.sha256 pins: its SHA-256 is "
            f"{weights.sha256}"
        )
    return weights


def pull(name: str, url: str | None = None, sha256: str | None = None) -> Path | None:
    """Download a model; return its file, or None if it ships with the program.

    A model pulled before is only checked, and downloaded again if it is missing or changed.

    Args:
        name: what to call it in `detect.weights`.
        url: where it lies; its extension tells the format. None for a name pulled before.
        sha256: hex digest that it must have; needed with `url`.

    Raises:
        ConfigError: a name, URL or digest that is not taken; nothing was touched.
        ModelError: the file cannot be had, or is not the one that was asked for.
        OutputError: the folder cannot be written.
    """
    known = pulled()
    if name in manifest():
        return None
    if not name_is_good(name):
        raise ConfigError(
            f"{name!a} is no name for a model: up to 64 small letters, digits and . _ - are, the "
            "first a letter or digit"
        )
    model = _wanted(name, url, sha256, known.get(name))
    path = model.path(name)
    if name in known:
        try:
            check_digest(path, model.sha256)
        except ModelError:
            pass  # gone or changed: once more
        else:
            return path
    _fetch(name, model, path)
    return path


def remove(name: str) -> Path:
    """Forget a pulled model and delete its file; return the file's path.

    Raises:
        ConfigError: there is none of that name.
        OutputError: the folder cannot be written.
    """
    if name in manifest():
        raise ConfigError(f"{name} ships with the program and cannot be removed")
    if name not in pulled():
        raise ConfigError(f"no pulled model is called {name}; `models list` shows them")
    with registry_locked():
        models = pulled()
        path = models.pop(name).path(name)
        save(models)
        try:
            path.unlink(missing_ok=True)
        except OSError as error:
            raise write_error(path, error) from error
    return path


def listed() -> list[Listed]:
    """Every weights file, built in or pulled; nothing is hashed.

    Raises:
        ModelError: a list of models cannot be read.
    """
    found = []
    models = manifest()
    for name, kind in builtin_files():
        file = models[name]["files"][kind]
        found.append(Listed(name, kind, file["bytes"], file["sha256"], "built in"))
    for name, model in sorted(pulled().items()):
        where = str(model.path(name))
        found.append(Listed(name, model.format, model.bytes, model.sha256, where))
    return found


def verified(names: Sequence[str] = ()) -> list[Listed]:
    """Hash the files of some models, or of all; what is wrong with one is its `error`.

    Raises:
        ConfigError: a name that is no model's.
        ModelError: a list of models cannot be read.
    """
    files = listed()
    if unknown := sorted(set(names) - {file.name for file in files}):
        raise ConfigError(f"no model is called {', '.join(unknown)}; `models list` shows them")
    return [_checked(file) for file in files if not names or file.name in names]


def _checked(file: Listed) -> Listed:
    error = None
    try:
        if file.where == "built in":
            kind = next(kind for kind in BUILTIN_KINDS if kind == file.format)
            builtin_weights(kind, file.name)
        else:
            check_digest(Path(file.where), file.sha256)
    except PipelineError as problem:
        error = problem.message
    return Listed(file.name, file.format, file.bytes, file.sha256, file.where, error)


def _wanted(name: str, url: str | None, sha256: str | None, known: Pulled | None) -> Pulled:
    """What to download (its length not known yet), from the words of a call or from before."""
    if url is None:
        if known is None:
            raise ConfigError(
                f"no model is called {name}; to pull one of another author: "
                f"models pull {name} --url https://... --sha256 HEX"
            )
        if sha256 is not None and sha256.lower() != known.sha256:
            raise ConfigError(f"{name} was pulled with SHA-256 {known.sha256}; remove it first")
        return known
    if sha256 is None:
        raise ConfigError("--url needs --sha256: nothing is taken that cannot be checked")
    check_url(url)
    try:
        model = Pulled(url=url, sha256=sha256.lower(), bytes=0, format=_format_of(url))
    except ValidationError:
        raise ConfigError(f"--sha256 {sha256!a} is not 64 hexadecimal digits") from None
    if known is not None and (known.sha256, known.format) != (model.sha256, model.format):
        raise ConfigError(f"{name} is another model already, from {known.url}; remove it first")
    return model


def _format_of(url: str) -> Format:
    suffix = PurePosixPath(urlsplit(url).path).suffix.lower()
    if suffix == ".safetensors":
        raise ConfigError(
            "a .safetensors file needs its architecture beside it and is not pulled; download "
            "both yourself and name the path in detect.weights, or pull an .onnx file"
        )
    if suffix not in FORMAT_OF:
        raise ConfigError(f"--url {url} does not end in one of {', '.join(FORMAT_OF)}")
    return FORMAT_OF[suffix]


def _fetch(name: str, model: Pulled, path: Path) -> None:
    folder = models_folder()
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise write_error(path, error) from error
    temporary = folder / f"{TEMPORARY_PREFIX}{secrets.token_hex(8)}{path.suffix}"
    target = Target(path, temporary, overwrite=True)
    try:
        count = download(model.url, temporary, model.sha256)
        with registry_locked():
            target.publish()
            models = pulled() | {name: model.model_copy(update={"bytes": count})}
            save(models)
    finally:
        target.discard()
