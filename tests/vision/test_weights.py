from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path

import pytest

from sorawm_pipeline.errors import ModelError
from sorawm_pipeline.vision import weights as module
from sorawm_pipeline.vision.weights import builtin_weights, digest_of, find_weights, manifest


def test_builtin_files_are_the_ones_the_manifest_names() -> None:
    for kind in ("onnx", "safetensors"):
        found = builtin_weights(kind)
        assert found.sha256 == hashlib.sha256(found.path.read_bytes()).hexdigest()
        assert found.path.stat().st_size < 10_000_000
        assert 0 < found.confidence < 1
        assert found.image_size % found.stride == 0


def test_manifest_tells_what_a_person_wants_to_know() -> None:
    entry = manifest()["sora-detector"]
    assert entry["class_names"] == ["sora"]
    assert {"version", "licence", "files", "recipe", "measured"} <= entry.keys()


@pytest.mark.parametrize(
    ("device", "kind"), [("cpu", "onnx"), ("cuda", "safetensors"), ("cuda:1", "safetensors")]
)
def test_the_device_decides_the_builtin_format(device: str, kind: str) -> None:
    assert find_weights(device=device).format == kind
    assert find_weights("builtin", device=device).format == kind


@pytest.fixture
def copied_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "models"
    shutil.copytree(builtin_weights().path.parent, folder)
    monkeypatch.setattr(module, "_folder", lambda: folder)
    return folder


def test_a_changed_builtin_file_is_refused(copied_package: Path) -> None:
    file = copied_package / "detector.onnx"
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)
    with pytest.raises(ModelError, match=r"detector\.onnx was changed"):
        builtin_weights("onnx")


def test_a_changed_architecture_is_refused(copied_package: Path) -> None:
    with (copied_package / "detector.yaml").open("a") as file:
        file.write("activation: print(1)\n")
    with pytest.raises(ModelError, match=r"detector\.yaml was changed"):
        builtin_weights("safetensors")


def test_a_missing_builtin_file_is_named(copied_package: Path) -> None:
    (copied_package / "detector.onnx").unlink()
    with pytest.raises(ModelError, match=r"detector\.onnx is missing"):
        builtin_weights("onnx")


@pytest.mark.parametrize("text", ["", "[]", "{}", "{"])
def test_a_broken_manifest_is_a_model_error(copied_package: Path, text: str) -> None:
    (copied_package / "models.json").write_text(text)
    with pytest.raises(ModelError, match=r"models\.json"):
        builtin_weights()


def test_an_unknown_builtin_name_lists_the_known_ones() -> None:
    with pytest.raises(ModelError, match="sora-detector"):
        builtin_weights(name="other")


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("a.onnx", "onnx"),
        ("A.ONNX", "onnx"),
        ("a.torchscript", "torchscript"),
        ("a.engine", "tensorrt"),
    ],
)
def test_a_file_of_ones_own_is_known_by_its_suffix(tmp_path: Path, name: str, kind: str) -> None:
    path = tmp_path / name
    path.write_bytes(b"weights")
    found = find_weights(path)
    assert found.format == kind
    assert found.sha256 == hashlib.sha256(b"weights").hexdigest()


def test_a_missing_file_says_so(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="no weights at") as caught:
        find_weights(tmp_path / "none.onnx")
    assert caught.value.kind == "missing"


def test_an_unknown_suffix_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.zip").touch()
    with pytest.raises(ModelError, match="no known weight format"):
        find_weights(tmp_path / "a.zip")


def test_a_pickle_needs_an_explicit_yes(tmp_path: Path) -> None:
    (tmp_path / "a.pt").write_bytes(b"x")
    with pytest.raises(ModelError, match="pickle"):
        find_weights(tmp_path / "a.pt")
    assert find_weights(tmp_path / "a.pt", allow_pickle=True).format == "pickle"


def test_a_pinned_digest_is_checked(tmp_path: Path) -> None:
    path = tmp_path / "a.onnx"
    path.write_bytes(b"weights")
    digest = hashlib.sha256(b"weights").hexdigest()
    assert find_weights(path, sha256=digest.upper()).sha256 == digest
    with pytest.raises(ModelError, match=digest):
        find_weights(path, sha256="0" * 64)


def test_safetensors_need_their_architecture(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    path.write_bytes(b"x")
    with pytest.raises(ModelError, match=r"a\.yaml"):
        find_weights(path)
    (tmp_path / "a.yaml").write_text("nc: 1\n")
    assert find_weights(path).architecture == tmp_path / "a.yaml"


def test_an_openvino_folder_is_known_by_name_and_content(tmp_path: Path) -> None:
    folder = tmp_path / "my_openvino_model"
    folder.mkdir()
    with pytest.raises(ModelError, match="not an OpenVINO model"):
        find_weights(folder)
    (folder / "my.xml").write_text("<net/>")
    (folder / "my.bin").write_bytes(b"1")
    first = find_weights(folder)
    assert first.format == "openvino"
    (folder / "my.bin").write_bytes(b"2")
    assert digest_of(folder) != first.sha256


def test_the_manifest_is_plain_json() -> None:
    text = (builtin_weights().path.parent / "models.json").read_text()
    assert json.loads(text)["version"] == 1


def described(tmp_path: Path, **changes: object) -> Path:
    """An ONNX file with a description beside it, as `train` writes it."""
    path = tmp_path / "logo.onnx"
    path.write_bytes(b"weights")
    card = {
        "name": "logo",
        "sha256": hashlib.sha256(b"weights").hexdigest(),
        "image_size": 512,
        "stride": 32,
        "confidence": 0.35,
    }
    path.with_suffix(".json").write_text(json.dumps(card | changes))
    return path


def test_a_description_beside_an_onnx_file_is_used(tmp_path: Path) -> None:
    found = find_weights(described(tmp_path))
    assert (found.name, found.confidence, found.image_size) == ("logo", 0.35, 512)


def test_an_onnx_file_that_its_description_does_not_fit_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"logo\.json describes"):
        find_weights(described(tmp_path, sha256="0" * 64))


@pytest.mark.parametrize(
    "changes",
    [
        {"confidence": 1.5},
        {"confidence": "much"},
        {"confidence": None},
        {"confidence": float("nan")},
        {"image_size": 0},
        {"image_size": 10**9},
        {"stride": 0},
    ],
)
def test_a_description_that_cannot_be_is_refused(
    tmp_path: Path, changes: dict[str, object]
) -> None:
    with pytest.raises(ModelError, match=r"logo\.json"):
        find_weights(described(tmp_path, **changes))


@pytest.mark.parametrize("text", ["", "[]", "{}", "{", "null", "\xff"])
def test_a_broken_description_is_a_model_error(tmp_path: Path, text: str) -> None:
    path = described(tmp_path)
    path.with_suffix(".json").write_text(text, encoding="latin-1")
    with pytest.raises(ModelError, match=r"logo\.json"):
        find_weights(path)
