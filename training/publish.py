"""Putting a model into the package: its files' digests, its ONNX metadata, its manifest entry."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import onnx

FOLDER = Path(__file__).parents[1] / "src" / "sorawm_pipeline" / "models"
MANIFEST = FOLDER / "models.json"
LICENCE = "AGPL-3.0-or-later"


def describe(path: Path, metadata: Mapping[str, str]) -> None:
    """Write metadata into an ONNX file and check it."""
    graph = onnx.load(path)
    entries = {entry.key: entry.value for entry in graph.metadata_props}
    del graph.metadata_props[:]
    for key, value in {**entries, **metadata, "license": LICENCE}.items():
        entry = graph.metadata_props.add()
        entry.key, entry.value = key, value
    onnx.checker.check_model(graph)
    onnx.save(graph, path)


def publish(
    name: str,
    kinds: Sequence[str],
    stem: str,
    *,
    version: str,
    task: str,
    seed: int,
    measured: Path | None,
    **more: Any,
) -> None:
    """Enter a model into the manifest.

    Args:
        name: the model's.
        kinds: suffixes of its files, which lie in the folder as `stem.kind`.
        stem: see there.
        version: of the model.
        task: what it does, `detect` or `restore`.
        seed: that its recipe begins with.
        measured: a JSON file of what it achieves.
        more: further keys of the entry.
    """
    files = {kind: _entered(FOLDER / f"{stem}.{kind}") for kind in kinds}
    entry = {
        "version": version,
        "task": task,
        "licence": LICENCE,
        "files": files,
        **more,
        "recipe": {"folder": "training/", "seed": seed},
        "measured": json.loads(measured.read_text()) if measured else None,
    }
    models = _models()
    models[name] = entry
    _write(models)
    print(json.dumps({name: files}, indent=1))


def add_file(name: str, kind: str, path: Path) -> None:
    """Enter one more file of a model that is in the manifest."""
    models = _models()
    models[name]["files"][kind] = _entered(path)
    _write(models)
    print(json.dumps({name: models[name]["files"][kind]}, indent=1))


def _entered(path: Path) -> dict[str, Any]:
    path.chmod(0o644)
    content = path.read_bytes()
    digest = hashlib.sha256(content).hexdigest()
    return {"name": path.name, "sha256": digest, "bytes": len(content)}


def _models() -> dict[str, Any]:
    if not MANIFEST.exists():
        return {}
    models: dict[str, Any] = json.loads(MANIFEST.read_text())["models"]
    return models


def _write(models: dict[str, Any]) -> None:
    MANIFEST.write_text(json.dumps({"version": 1, "models": models}, indent=1) + "\n")
