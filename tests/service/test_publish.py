"""A staged result gets its name whole and once; a source goes where it belongs."""

from __future__ import annotations

import errno
import os
from dataclasses import replace
from pathlib import Path

import pytest

from sorawm_pipeline.errors import OutputError
from sorawm_pipeline.service import identity, publish, sources
from sorawm_pipeline.service.jobs import Failure, Fingerprint, Job, JobState, Source
from sorawm_pipeline.service.names import reason_file, staging_folder


@pytest.fixture
def job(tmp_path: Path) -> Job:
    """A job whose result is staged, with something beside it."""
    path = tmp_path / "in/sub/a.ts"
    path.parent.mkdir(parents=True)
    path.write_text("source")
    source = identity.source(path)
    assert source is not None
    job = Job(
        *(7, "token", JobState.STAGED, source, tmp_path / "out/a.ts", False, 1, 0, 0.0),
        *(None, None, None, True, 1.0, 2.0, 3.0),
    )
    staged = staging_folder(job) / "a.ts"
    staged.parent.mkdir(parents=True)
    staged.write_text("result")
    staged.with_name("a.ts.xmp").write_text("beside")
    return replace(job, result=identity.result(staged))


def results(job: Job) -> dict[str, str]:
    files = (path for path in job.output.parent.iterdir() if path.is_file())
    return {path.name: path.read_text() for path in files}


WHOLE = {"a.ts": "result", "a.ts.xmp": "beside"}


def test_placing_can_be_repeated_at_any_time(job: Job) -> None:
    for _ in range(3):
        assert publish.place(job, may_replace=False)
        assert results(job) == WHOLE
    assert publish.is_placed(job)
    publish.clean_up(job)
    publish.clean_up(job)
    assert publish.place(job, may_replace=False)
    assert results(job) == WHOLE
    assert not staging_folder(job).exists()


@pytest.mark.parametrize("links", [True, False])
def test_another_file_is_not_replaced(
    job: Job, links: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not links:
        _no_links(monkeypatch)
    job.output.write_text("somebody's")
    with pytest.raises(OutputError, match="exists already") as error:
        publish.place(job, may_replace=False)
    assert error.value.kind == "exists"
    assert results(job)["a.ts"] == "somebody's"
    assert publish.place(job, may_replace=True)
    assert results(job) == WHOLE


def test_without_links_it_is_renamed_and_known_by_its_digest(
    job: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    _no_links(monkeypatch)
    assert publish.place(job, may_replace=False)
    assert results(job) == WHOLE
    assert publish.place(job, may_replace=False)


def test_a_lost_or_altered_result_is_not_published(job: Job) -> None:
    staged = staging_folder(job) / "a.ts"
    staged.write_text("torn")
    os.utime(staged, ns=(1, 1))
    assert not publish.place(job, may_replace=False)
    publish.clean_up(job)
    assert not publish.place(job, may_replace=False)
    job.output.write_text("torn")
    assert not publish.place(job, may_replace=False)


def _no_links(monkeypatch: pytest.MonkeyPatch) -> None:
    def hardlink_to(self: Path, target: Path) -> None:
        raise OSError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(Path, "hardlink_to", hardlink_to)


@pytest.mark.parametrize("links", [True, False])
def test_sources_are_moved_and_never_replace_one(
    job: Job, tmp_path: Path, links: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not links:
        _no_links(monkeypatch)
    there = tmp_path / "in/done/sub/a.ts"
    there.parent.mkdir(parents=True)
    there.write_text("an older one")
    moved = sources.put_away(job, tmp_path / "in")
    assert moved == there.with_name("a (2).ts")
    assert (moved.read_text(), there.read_text()) == ("source", "an older one")
    assert not job.source.path.exists()
    assert sources.put_away(job, tmp_path / "in") is None


def test_a_move_that_was_cut_off_is_finished(job: Job, tmp_path: Path) -> None:
    there = tmp_path / "in/done/sub/a.ts"
    there.parent.mkdir(parents=True)
    there.hardlink_to(job.source.path)
    assert sources.put_away(job, tmp_path / "in") == there
    assert not job.source.path.exists()
    assert [path.name for path in there.parent.iterdir()] == ["a.ts"]


def test_a_source_is_deleted_only_if_its_result_is_whole(job: Job) -> None:
    assert not sources.delete(job)
    publish.place(job, may_replace=False)
    data = bytearray(job.output.read_bytes())
    data[0] ^= 1
    stamp = job.output.stat().st_mtime_ns
    job.output.write_bytes(data)
    os.utime(job.output, ns=(stamp, stamp))
    assert not sources.delete(job)
    data[0] ^= 1
    job.output.write_bytes(data)
    os.utime(job.output, ns=(stamp, stamp))
    assert sources.delete(job)
    assert not job.source.path.exists()


def test_a_source_that_changed_stays(job: Job, tmp_path: Path) -> None:
    publish.place(job, may_replace=False)
    job.source.path.write_text("new version")
    assert not sources.delete(job)
    assert sources.put_away(job, tmp_path / "in") is None
    assert job.source.path.read_text() == "new version"


def test_the_reason_is_written_in_words(job: Job) -> None:
    name = os.fsdecode(b"\xff\n.mp4")
    source = Source(job.source.path.with_name(name), Fingerprint(0, 0), "")
    failed = replace(job, source=source, failure=Failure("internal", f"{name} broke", "detect"))
    sources.write_reason(failed)
    text = reason_file(source.path).read_text()
    assert "\\xff" in text
    assert "internal in the stage detect" in text
    sources.remove_reason(source.path)
    sources.remove_reason(source.path)
    assert [path.name for path in source.path.parent.iterdir()] == ["a.ts"]


def test_a_file_that_changes_while_it_is_read_has_no_identity(
    job: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = os.fstat
    calls: list[int] = []

    def fstat(descriptor: int) -> os.stat_result:
        if calls:
            os.utime(job.source.path, ns=(5, 5))
        calls.append(descriptor)
        return real(descriptor)

    monkeypatch.setattr(os, "fstat", fstat)
    assert identity.read(job.source.path) is None


def test_links_and_folders_have_no_identity(job: Job) -> None:
    link = job.source.path.with_name("link")
    link.symlink_to(job.source.path)
    assert identity.fingerprint(link) is None
    assert identity.fingerprint(job.source.path.parent) is None
    with pytest.raises(OSError, match="symbolic links"):
        identity.read(link)
