"""Pulling weights from a server that may lie, and what is left on disk."""

from __future__ import annotations

import errno
import hashlib
import pickle
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from sorawm_pipeline import cli
from sorawm_pipeline.config import DetectConfig, PipelineConfig
from sorawm_pipeline.errors import ConfigError, ModelError, OutputError
from sorawm_pipeline.vision import download as downloading
from sorawm_pipeline.vision import weights as weights_module
from sorawm_pipeline.vision.detector import Detector
from sorawm_pipeline.vision.model_registry import models_folder, pulled
from sorawm_pipeline.vision.model_store import pull, remove, verified, weights_for
from sorawm_pipeline.vision.weights import builtin_weights
from sorawm_pipeline.warm import _load

BODY = b"weights" * 1000
SHA = hashlib.sha256(BODY).hexdigest()
REDIRECTS = {
    "/to-http.onnx": "http://127.0.0.1:1/a.onnx",
    "/to-file.onnx": "file:///etc/hostname",
    "/to-data.onnx": "data:,weights",
    "/nearby.onnx": "/a.onnx",
}


class Server(BaseHTTPRequestHandler):
    """Answers by path: whole, cut short, endless, redirected, or not at all."""

    timeout = 10

    def do_GET(self) -> None:
        if target := REDIRECTS.get(self.path):
            self.send_response(302)
            self.send_header("Location", target)
            self.send_header("Content-Length", "0")
            self.end_headers()
        elif self.path.startswith("/missing"):
            self.send_error(404)
        else:
            self.send_response(200)
            if not self.path.startswith("/no-length"):
                extra = 500 if self.path.startswith("/cut") else 0
                self.send_header("Content-Length", str(len(BODY) + extra))
            self.end_headers()
            self.wfile.write(BODY)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - its base's name
        """Say nothing."""


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Server) as httpd:
        thread = threading.Thread(target=httpd.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{httpd.server_port}"
        finally:
            httpd.shutdown()
            thread.join(10)


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    monkeypatch.setattr(downloading, "SILENCE_S", 10.0)
    return tmp_path / "data" / "sorawm-pipeline" / "models"


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.glob("*"))


def nothing_pulled(folder: Path) -> bool:
    return set(names(folder)) <= {".lock"} and pulled() == {}


def test_a_pulled_model_is_known_by_name(server: str, folder: Path) -> None:
    path = pull("logo", f"{server}/a.onnx?token=1", SHA.upper())
    assert path == folder / "logo.onnx"
    assert path.read_bytes() == BODY
    assert names(folder) == [".lock", "logo.onnx", "models.json"]
    (entry,) = pulled().values()
    assert (entry.sha256, entry.bytes, entry.format) == (SHA, len(BODY), "onnx")
    found = weights_for(DetectConfig(weights=Path("logo")), "cpu")
    assert (found.path, found.sha256, found.format) == (path, SHA, "onnx")


def test_a_body_without_a_length(server: str) -> None:
    assert pull("logo", f"{server}/no-length.onnx", SHA)


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("cut.onnx", "cut short: 7000 of 7500"),
        ("missing.onnx", "answers 404"),
        ("to-http.onnx", "not https"),
        ("nearby.onnx", "not https"),
        ("to-data.onnx", "302"),
        ("to-file.onnx", "302"),
    ],
)
def test_what_a_server_may_not_do(server: str, folder: Path, path: str, reason: str) -> None:
    with pytest.raises(ModelError, match=reason):
        pull("logo", f"{server}/{path}", SHA)
    assert nothing_pulled(folder)


def test_another_file_gets_no_name(server: str, folder: Path) -> None:
    with pytest.raises(ModelError, match=f"its SHA-256 is {SHA}"):
        pull("logo", f"{server}/a.onnx", "0" * 64)
    assert nothing_pulled(folder)


@pytest.mark.parametrize("path", ["a.onnx", "no-length.onnx"])
def test_a_body_over_the_cap(server: str, tmp_path: Path, path: str) -> None:
    target = tmp_path / "a"
    with pytest.raises(ModelError, match="6999"):
        downloading.download(f"{server}/{path}", target, SHA, max_bytes=6999)
    assert target.exists() == (path == "no-length.onnx")  # refused before the first byte
    assert downloading.download(f"{server}/{path}", tmp_path / "b", SHA, max_bytes=7000) == 7000


def test_a_server_that_takes_too_long(
    server: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(downloading, "TOTAL_S", -1.0)
    with pytest.raises(ModelError, match="did not come within"):
        pull("logo", f"{server}/a.onnx", SHA)
    assert nothing_pulled(folder)


def test_nobody_listens(folder: Path) -> None:
    with pytest.raises(ModelError, match="cannot be fetched"):
        pull("logo", "http://127.0.0.1:1/a.onnx", SHA)
    assert nothing_pulled(folder)


@pytest.mark.parametrize("error", [KeyboardInterrupt(), ModelError("broke off")])
def test_an_interrupted_pull_leaves_nothing(
    server: str, folder: Path, monkeypatch: pytest.MonkeyPatch, error: BaseException
) -> None:
    chunks = iter([b"half"])

    def broken(*_: object) -> bytes:
        for chunk in chunks:
            return chunk
        assert len(names(folder)) == 1
        raise error

    monkeypatch.setattr(downloading, "_next_chunk", broken)
    with pytest.raises(type(error)):
        pull("logo", f"{server}/a.onnx", SHA)
    assert nothing_pulled(folder)


def test_a_full_disk(server: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "full")

    monkeypatch.setattr(downloading, "_copied", full)
    with pytest.raises(OutputError, match="no space left") as caught:
        pull("logo", f"{server}/a.onnx", SHA)
    assert caught.value.kind == "no_space"
    assert nothing_pulled(folder)


@pytest.mark.parametrize(
    "name", ["a/b", "../a", "", ".", "..", ".hidden", "-x", "A", "a b", "a\n", "é", "a" * 65]
)
def test_names_that_are_not_taken(folder: Path, name: str) -> None:
    with pytest.raises(ConfigError, match="no name for a model"):
        pull(name, "https://example.org/a.onnx", SHA)
    assert not folder.exists()


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("http://example.org/a.onnx", "only https"),
        ("http://127.0.0.1.example.org/a.onnx", "only https"),
        ("file:///tmp/a.onnx", "no address"),
        ("ftp://example.org/a.onnx", "only https"),
        ("https:///a.onnx", "no address"),
        ("https://me:secret@example.org/a.onnx", "password"),
        ("https://example.org:x/a.onnx", "no address"),
        ("https://example.org/a b.onnx", "no address"),
        ("https://example.org/a.safetensors", "architecture"),
        ("https://example.org/a.zip", "does not end in"),
        ("https://example.org/a", "does not end in"),
    ],
)
def test_urls_that_are_not_taken(folder: Path, url: str, reason: str) -> None:
    with pytest.raises(ConfigError, match=reason) as caught:
        pull("logo", url, SHA)
    assert "secret" not in caught.value.message
    assert not folder.exists()


def test_a_url_needs_a_digest() -> None:
    for sha256, reason in ((None, "needs --sha256"), ("12", "64 hexadecimal")):
        with pytest.raises(ConfigError, match=reason):
            pull("logo", "https://example.org/a.onnx", sha256)
    with pytest.raises(ConfigError, match=r"models pull logo --url"):
        pull("logo")


def test_pulled_again_only_where_needed(server: str, folder: Path) -> None:
    path = pull("logo", f"{server}/a.onnx", SHA)
    assert path is not None
    before = path.stat().st_ino
    assert pull("logo") == path
    assert path.stat().st_ino == before
    path.write_bytes(b"changed")
    assert pull("logo") == path
    assert path.read_bytes() == BODY
    with pytest.raises(ConfigError, match="remove it first"):
        pull("logo", f"{server}/a.onnx", "0" * 64)


def test_removed(server: str, folder: Path) -> None:
    path = pull("logo", f"{server}/a.onnx", SHA)
    assert remove("logo") == path
    assert pulled() == {}
    assert names(folder) == [".lock", "models.json"]
    for name in ("logo", "sora-detector"):
        with pytest.raises(ConfigError):
            remove(name)


def test_verify_names_each_wrong_file_and_checks_the_others(
    server: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("gone", "changed", "good"):
        pull(name, f"{server}/a.onnx", SHA)
    (folder / "gone.onnx").unlink()
    (folder / "changed.onnx").write_bytes(BODY[:-1] + b"!")
    assert cli.call(["models", "verify"]) == 1
    said = capsys.readouterr()
    assert "gone.onnx is missing" in said.err
    assert "changed.onnx was changed" in said.err
    assert said.err.count("\n") == 2
    assert "ok: good" in said.out
    assert said.out.count("ok: sora-detector") == 3
    assert cli.call(["models", "verify", "good"]) == 0
    assert [file.name for file in verified(["good"])] == ["good"]
    assert cli.call(["models", "list"]) == 0
    assert f"{SHA[:12]}  {folder / 'changed.onnx'}" in capsys.readouterr().out


def test_verify_tells_of_a_changed_builtin_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = builtin_weights().path.parent
    copy = tmp_path / "package"
    copy.mkdir()
    for file in package.iterdir():
        if file.is_file():
            (copy / file.name).write_bytes(file.read_bytes())
    (copy / "detector.onnx").write_bytes(b"other")
    monkeypatch.setattr(weights_module, "_folder", lambda: copy)
    wrong = [file.format for file in verified() if file.error is not None]
    assert wrong == ["onnx"]


def test_a_changed_model_is_not_loaded(server: str) -> None:
    path = pull("logo", f"{server}/a.onnx", SHA)
    assert path is not None
    path.write_bytes(b"changed")
    with pytest.raises(ModelError, match="changed since"):
        weights_for(DetectConfig(weights=Path("logo")), "cpu")


@pytest.mark.parametrize("text", ["", "{", '{"version": 1, "models": {"../a": {}}}'])
def test_a_broken_registry_is_a_model_error(folder: Path, text: str) -> None:
    folder.mkdir(parents=True)
    (folder / "models.json").write_text(text)
    with pytest.raises(ModelError, match=r"models\.json cannot be read"):
        pulled()
    assert weights_for(DetectConfig(), "cpu").name == "sora-detector"
    own = folder / "own.onnx"
    own.write_bytes(BODY)
    assert weights_for(DetectConfig(weights=own), "cpu").path == own


def test_a_pinned_digest_is_checked_before_anything_parses(tmp_path: Path) -> None:
    path = tmp_path / "own.onnx"
    path.write_bytes(BODY)
    assert weights_for(DetectConfig(weights=path, sha256=SHA.upper()), "cpu").path == path
    config = PipelineConfig(detect=DetectConfig(weights=path, sha256="0" * 64), device="cpu")
    with pytest.raises(ModelError, match="not the file it should be"):
        _load(config)
    with pytest.raises(ModelError, match="not the file that"):
        weights_for(DetectConfig(sha256="0" * 64), "cpu")


class Touch:
    """Makes a file when unpickled freely."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.path,)


@pytest.mark.parametrize("zipped", [True, False])
def test_a_pickle_runs_no_code_even_when_allowed(tmp_path: Path, zipped: bool) -> None:
    import torch

    proof, path = tmp_path / "ran", tmp_path / "evil.pt"
    if zipped:
        torch.save({"model": Touch(proof)}, path)
    else:
        path.write_bytes(pickle.dumps({"model": Touch(proof)}, protocol=2))
    refused = DetectConfig(weights=path)
    allowed = DetectConfig(weights=path, allow_pickle=True)
    with pytest.raises(ModelError, match="is a pickle"):
        _load(PipelineConfig(detect=refused, device="cpu"))
    with pytest.raises(ModelError, match="cannot be loaded"):
        _load(PipelineConfig(detect=allowed, device="cpu"))
    with pytest.raises(ModelError):
        Detector(weights_for(allowed, "cpu"))
    assert not proof.exists()


def test_a_name_that_is_neither_file_nor_model() -> None:
    with pytest.raises(ModelError, match="no pulled model is called so"):
        weights_for(DetectConfig(weights=Path("logo")), "cpu")


def test_a_pulled_pickle_is_a_pickle(server: str) -> None:
    pull("logo", f"{server}/a.pt", SHA)
    with pytest.raises(ModelError, match="is a pickle"):
        weights_for(DetectConfig(weights=Path("logo")), "cpu")


def test_the_data_folder_may_be_a_file(tmp_path: Path, server: str) -> None:
    (tmp_path / "data").write_text("")
    with pytest.raises((OutputError, ModelError)):
        pull("logo", f"{server}/a.onnx", SHA)
    assert models_folder() == tmp_path / "data" / "sorawm-pipeline" / "models"
