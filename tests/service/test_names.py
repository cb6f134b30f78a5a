"""What is an input by its name, and the names of our own files."""

from __future__ import annotations

import os
from pathlib import Path, PurePosixPath

import pytest

from sorawm_pipeline.config_sections import InputConfig
from sorawm_pipeline.media.target import TEMPORARY_PREFIX
from sorawm_pipeline.service.names import claims_to_be_video, is_input, reason_file

DEFAULT = InputConfig().ignore


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("a.mp4", True),
        ("sub/deep/a.mp4", True),
        ("-rf", True),
        ("a\nb.mp4", True),
        (f"{TEMPORARY_PREFIX}job-1/a.mp4", False),
        (f"{TEMPORARY_PREFIX}0123.mp4", False),
        (".hidden.mp4", False),
        (".folder/a.mp4", False),
        ("a.mp4.sorawm-error.txt", False),
        ("a.mp4.part", False),
        ("unfinished.part/a.mp4", False),
        ("a.mp4~", False),
    ],
)
def test_inputs_by_default(name: str, expected: bool) -> None:
    assert is_input(PurePosixPath(name), DEFAULT) == expected


def test_patterns() -> None:
    assert not is_input(PurePosixPath("raw/a.mp4"), ["raw"])
    assert not is_input(PurePosixPath("x/raw/a.mp4"), ["*/raw/*"])
    assert is_input(PurePosixPath("raw/a.mp4"), ["*/raw/*"])
    assert is_input(PurePosixPath("a.mp4"), [])


@pytest.mark.parametrize("name", ["a.mp4", "x" * 255, "ä" * 127, "\udcff" * 255])
def test_a_reason_file_has_a_name_that_fits(name: str) -> None:
    path = reason_file(Path("/in") / name)
    assert len(os.fsencode(path.name)) <= 255
    assert not is_input(PurePosixPath(path.name), [])
    assert path.parent == Path("/in")


def test_long_names_have_reason_files_of_their_own() -> None:
    assert reason_file(Path("x" * 254 + "a")) != reason_file(Path("x" * 254 + "b"))


def test_what_claims_to_be_a_video() -> None:
    assert claims_to_be_video(PurePosixPath("A.MP4"))
    assert not claims_to_be_video(PurePosixPath("readme.txt"))
