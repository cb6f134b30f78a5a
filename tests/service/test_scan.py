"""Looking at a folder: links are not followed, what is no file is passed over."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from sorawm_pipeline.service.jobs import Fingerprint
from sorawm_pipeline.service.scan import Scope, look, reached_without_links


@pytest.fixture
def scope(tmp_path: Path) -> Scope:
    root = tmp_path / "in"
    root.mkdir()
    return Scope.of(root, root / "results", ["*.part"], moves=True)


def refused(path: Path, error: OSError) -> None:
    raise AssertionError(path) from error


def names(scope: Scope, *paths: Path) -> dict[str, bool]:
    """What is seen, by relative path, and whether it is a file."""
    seen = look(scope, list(paths) or [scope.root], refused)
    return {str(s.path.relative_to(scope.root)): s.fingerprint is not None for s in seen}


def put(path: Path, text: str = "x") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def test_files_at_any_depth(scope: Scope) -> None:
    put(scope.root / "a.mp4", "four")
    put(scope.root / "sub/deep/b.mp4")
    (seen, _) = look(scope, [scope.root], refused)
    status = (scope.root / "a.mp4").stat()
    assert seen.fingerprint == Fingerprint(4, status.st_mtime_ns)
    assert names(scope) == {"a.mp4": True, "sub/deep/b.mp4": True}
    assert names(scope, scope.root / "sub") == {"sub/deep/b.mp4": True}


def test_results_done_sources_and_own_files_are_no_inputs(scope: Scope) -> None:
    for name in ("results/a.mp4", "done/b.mp4", ".sorawm-job-1/c.mp4", "d.mp4.part"):
        put(scope.root / name)
        assert names(scope, scope.root / name) == {}
    assert names(scope) == {}


def test_links_are_not_followed(scope: Scope, tmp_path: Path) -> None:
    outside = put(tmp_path / "outside/secret.mp4")
    (scope.root / "file.mp4").symlink_to(outside)
    (scope.root / "folder").symlink_to(outside.parent)
    (scope.root / "up").symlink_to("..")
    put(scope.root / "here.mp4")
    assert names(scope) == {"here.mp4": True}
    assert names(scope, scope.root / "folder/secret.mp4") == {}
    assert names(scope, scope.root / "file.mp4") == {"file.mp4": False}
    assert names(scope, scope.root / "../outside/secret.mp4") == {}
    assert not reached_without_links(scope.root, scope.root / "folder/secret.mp4")
    assert reached_without_links(scope.root, scope.root / "here.mp4")


def test_pipes_sockets_and_devices_are_passed_over(scope: Scope) -> None:
    os.mkfifo(scope.root / "pipe.mp4")
    with socket.socket(socket.AF_UNIX) as line:
        line.bind(str(scope.root / "socket.mp4"))
    if os.geteuid() == 0:
        os.mknod(scope.root / "device.mp4", 0o600 | 0o020000, os.makedev(1, 3))
    assert names(scope) == {}
    assert names(scope, scope.root / "pipe.mp4") == {"pipe.mp4": False}


def test_what_is_gone_is_told(scope: Scope) -> None:
    assert names(scope, scope.root / "never.mp4") == {"never.mp4": False}
    put(scope.root / "a.mp4")
    assert names(scope, scope.root / "a.mp4/inside.mp4") == {"a.mp4/inside.mp4": False}


def test_names_of_any_bytes(scope: Scope) -> None:
    raw = [b"new\nline.mp4", b"quote'\".mp4", b"-dash.mp4", b"\xff\xfe.mp4", b"x" * 251 + b".mp4"]
    for name in raw:
        put(scope.root / os.fsdecode(name))
    assert {os.fsencode(name) for name in names(scope)} == set(raw)


def test_what_may_not_be_looked_at_is_told(scope: Scope, monkeypatch: pytest.MonkeyPatch) -> None:
    put(scope.root / "closed/a.mp4")
    put(scope.root / "b.mp4")
    real = os.scandir

    def scandir(path: Path) -> object:
        if path.name == "closed":
            raise PermissionError(13, "Permission denied")
        return real(path)

    monkeypatch.setattr(os, "scandir", scandir)
    told: list[Path] = []
    seen = look(scope, [scope.root], lambda path, error: told.append(path))
    assert [one.path.name for one in seen] == ["b.mp4"]
    assert told == [scope.root / "closed"]


def test_a_folder_is_known_by_more_than_its_name(scope: Scope, tmp_path: Path) -> None:
    before = scope.mark()
    assert before is not None
    scope.root.rename(tmp_path / "old")
    assert scope.mark() is None
    scope.root.mkdir()
    assert scope.mark() not in (None, before)
