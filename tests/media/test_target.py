from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from sorawm_pipeline.errors import OutputError
from sorawm_pipeline.media.target import Target, write_error


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "in.mp4"
    path.write_bytes(b"source")
    return path


def finished(source: Path, path: Path, *, overwrite: bool = False) -> Target:
    target = Target.prepare(source, path, overwrite=overwrite)
    target.temporary.write_bytes(b"result")
    return target


def test_a_result_appears_whole_in_a_folder_that_is_made(source: Path, tmp_path: Path) -> None:
    target = finished(source, tmp_path / "a" / "b" / "out.mp4")
    assert target.temporary.parent == target.path.parent
    assert target.temporary.suffix == ".mp4"
    target.publish()
    assert [p.name for p in target.path.parent.iterdir()] == ["out.mp4"]
    assert target.path.read_bytes() == b"result"


def test_the_input_is_never_the_output(source: Path, tmp_path: Path) -> None:
    (tmp_path / "link.mp4").symlink_to(source)
    os.link(source, tmp_path / "hard.mp4")
    for name in ("in.mp4", "link.mp4", "hard.mp4"):
        with pytest.raises(OutputError, match="input itself"):
            Target.prepare(source, tmp_path / name, overwrite=True)


def test_an_existing_result_needs_permission(source: Path, tmp_path: Path) -> None:
    path = tmp_path / "out.mp4"
    path.write_bytes(b"old")
    with pytest.raises(OutputError, match="--overwrite") as caught:
        Target.prepare(source, path, overwrite=False)
    assert caught.value.kind == "exists"
    finished(source, path, overwrite=True).publish()
    assert path.read_bytes() == b"result"


def test_a_name_taken_meanwhile_is_not_replaced(source: Path, tmp_path: Path) -> None:
    target = finished(source, tmp_path / "out.mp4")
    target.path.write_bytes(b"somebody else's")
    with pytest.raises(OutputError, match="meanwhile"):
        target.publish()
    assert target.path.read_bytes() == b"somebody else's"


def test_file_systems_without_hard_links(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(self: Path, target: Path) -> None:
        raise OSError(errno.EPERM, "no hard links here")

    monkeypatch.setattr(Path, "hardlink_to", refuse)
    target = finished(source, tmp_path / "out.mp4")
    target.publish()
    assert target.path.read_bytes() == b"result"
    assert not target.temporary.exists()


def test_discarding_leaves_nothing(source: Path, tmp_path: Path) -> None:
    target = finished(source, tmp_path / "out.mp4")
    target.discard()
    target.discard()
    assert [p.name for p in tmp_path.iterdir()] == ["in.mp4"]


def test_a_folder_where_a_file_should_be(source: Path, tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="is a folder"):
        Target.prepare(source, tmp_path, overwrite=True)
    with pytest.raises(OutputError, match="is not a folder"):
        Target.prepare(source, source / "out.mp4", overwrite=True)


@pytest.mark.parametrize(
    ("number", "kind", "words"),
    [
        (errno.ENOSPC, "no_space", "no space left"),
        (errno.EDQUOT, "no_space", "no space left"),
        (errno.EACCES, "output", "cannot be written to"),
        (errno.EROFS, "output", "read-only"),
        (errno.EIO, "output", "failed"),
    ],
)
def test_system_errors_become_one_sentence(number: int, kind: str, words: str) -> None:
    error = write_error(Path("/some/where/out.mp4"), OSError(number, os.strerror(number)))
    assert error.kind == kind
    assert words in error.message
