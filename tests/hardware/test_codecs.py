"""Codecs are believed when they have coded a picture, and a crash of one costs only that one."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

import av
import pytest

from sorawm_pipeline.errors import DeviceError
from sorawm_pipeline.hardware import codec_probe, codecs
from sorawm_pipeline.hardware.codecs import CodecProbe, encoder_for, known, probe_codecs


@pytest.fixture
def fresh_cache() -> Iterator[None]:
    probe_codecs.cache_clear()
    yield
    probe_codecs.cache_clear()


def test_the_software_codecs_of_this_build_work_and_every_failure_has_a_reason() -> None:
    probes = probe_codecs()
    assert [(probe.kind, probe.codec, probe.name) for probe in probes] == known()
    assert [probe for probe in probes if not probe.hardware and not probe.works] == []
    assert all(probe.reason for probe in probes if not probe.works)


def test_the_answer_is_cached(monkeypatch: pytest.MonkeyPatch) -> None:
    first = probe_codecs()
    monkeypatch.setattr(subprocess, "run", None)
    assert probe_codecs() is first


@pytest.mark.parametrize(
    ("codec", "encoder"),
    [("h264", "libx264"), ("hevc", "libx265"), ("av1", "libsvtav1"), ("vp9", "libvpx-vp9"),
     ("ffv1", "ffv1")],
)  # fmt: skip
def test_encoder_for(codec: str, encoder: str) -> None:
    assert encoder_for(codec) == encoder


def test_probing_prints_nothing(fresh_cache: None, capfd: pytest.CaptureFixture[str]) -> None:
    probe_codecs()
    assert capfd.readouterr() == ("", "")


CRASHING_PROBE = """
import dataclasses, json, os, sys
from sorawm_pipeline.hardware.codecs import CodecProbe, known
for item in known()[int(sys.argv[1]):]:
    if item[2] == "hevc_nvenc":
        os.abort()
    print(json.dumps(dataclasses.asdict(CodecProbe(*item))), flush=True)
"""


@pytest.mark.usefixtures("fresh_cache")
def test_a_codec_that_crashes_its_process_is_named_and_the_rest_are_tried(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    run = subprocess.run

    def crash(command: list[str], **options: Any) -> Any:
        assert command[1:3] == ["-m", "sorawm_pipeline.hardware.codec_probe"]
        return run([sys.executable, "-c", CRASHING_PROBE, command[3]], **options)

    monkeypatch.setattr(subprocess, "run", crash)
    probes = probe_codecs()
    assert [(probe.kind, probe.codec, probe.name) for probe in probes] == known()
    assert {probe.name: probe.reason for probe in probes if not probe.works} == {
        "hevc_nvenc": "the probe crashed (SIGABRT)"
    }


@pytest.mark.usefixtures("fresh_cache")
def test_a_codec_that_hangs_is_given_up_with_what_came_before(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    lines = [json.dumps(asdict(CodecProbe(*item))) for item in known()]

    def hang_on_the_last(command: list[str], **_: object) -> None:
        partly = "\n".join(lines[int(command[3]) : -1]) + '\n{"kind"'
        raise subprocess.TimeoutExpired(command, 20, output=partly.encode())

    monkeypatch.setattr(subprocess, "run", hang_on_the_last)
    probes = probe_codecs()
    assert [(probe.kind, probe.codec, probe.name) for probe in probes] == known()
    assert [probe.reason for probe in probes if not probe.works] == ["no answer within 20 s"]


@pytest.mark.usefixtures("fresh_cache")
def test_a_probe_that_cannot_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    assert {probe.reason for probe in probe_codecs()} == {
        "the probe could not start: No such file or directory"
    }


@pytest.fixture
def libav_errors() -> Iterator[None]:
    """As the probe's own process has it; harmless here, as nothing else decodes meanwhile."""
    av.logging.set_level(av.logging.ERROR)
    yield
    av.logging.set_level(None)


@pytest.mark.usefixtures("libav_errors")
def test_the_reason_is_what_libav_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(codec_probe._QUICK, "libx264", {"preset": "hasty"})
    result = codec_probe.probe("encoder", "h264", "libx264")
    assert result.reason is not None
    assert result.reason.startswith("Error setting preset/tune hasty")


def test_an_encoder_whose_picture_cannot_be_decoded_does_not_work(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    encode = codec_probe._encode
    monkeypatch.setattr(codec_probe, "_encode", lambda name: (encode(name)[0], []))
    assert codec_probe.probe("encoder", "h264", "libx264").reason == (
        "one picture of 320x192 went in, [] came out"
    )


def test_a_codec_that_is_not_compiled_in() -> None:
    result = codec_probe.probe("decoder", "h264", "h264_magic")
    assert result.reason == "not in this build of PyAV"


def test_an_encoder_that_works_on_its_device_is_given_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """libx264 stands in for the encoder behind PyAV's own call, and takes what is uploaded."""
    create = av.CodecContext.create
    asked: list[tuple[str, object]] = []

    def stand_in(name: str, mode: str, hwaccel: object = None) -> object:
        asked.append((name, hwaccel))
        return create("libx264" if name == "h264_vaapi" else name, mode)  # type: ignore[call-overload]

    monkeypatch.setattr(codec_probe, "HWAccel", lambda device, **_: device)
    monkeypatch.setattr(av.CodecContext, "create", stand_in, raising=False)
    assert codec_probe.probe("encoder", "h264", "h264_vaapi").works
    assert asked == [("h264_vaapi", "vaapi"), ("h264", None)]


@pytest.mark.usefixtures("fresh_cache")
def test_no_encoder_that_works_is_a_device_error_with_all_reasons(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    none = tuple(CodecProbe(*item, reason=f"no {item[2]}") for item in known())
    monkeypatch.setattr(codecs, "probe_codecs", lambda: none)
    with pytest.raises(DeviceError, match=r"vp9 .*libvpx-vp9: no libvpx-vp9; vp9_qsv: no vp9_qsv"):
        encoder_for("vp9")
    with pytest.raises(DeviceError, match="none is known"):
        encoder_for("theora")
