"""From a signed source to a signed result and back: what the chain says, and when it is broken."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from sorawm_pipeline import Pipeline, PipelineConfig, cli
from sorawm_pipeline.media.chain import read_chain
from sorawm_pipeline.media.signing import Credentials
from sorawm_pipeline.report import ClipReport
from tests.clips import Clip, remuxed
from tests.media.test_provenance import (
    GENERATED,
    Authority,
    active,
    copied,
    flip,
    sign_source,
    store_of,
)

MakeClip = Callable[[str, Clip], Path]
Say = pytest.CaptureFixture[str]
pytestmark = pytest.mark.usefixtures("detectors")
EXPIRED = Path(__file__).parent / "data" / "expired.mp4"


@pytest.fixture(scope="module")
def authority() -> Authority:
    return Authority.make()


@pytest.fixture
def credentials(authority: Authority, tmp_path: Path) -> Credentials:
    return authority.issue(tmp_path / "signer")


@pytest.fixture
def signed(make_clip: MakeClip, credentials: Credentials, tmp_path: Path) -> Path:
    """A generator's clip, its mark on every frame."""
    return sign_source(make_clip("plain.mp4", Clip()), tmp_path / "signed.mp4", credentials)


async def cleaned(
    source: Path, credentials: Credentials | None = None, name: str = "result.mp4"
) -> tuple[Path, ClipReport]:
    mine = {}
    if credentials is not None:
        mine = {"certificate": credentials.certificate, "key": credentials.key}
    config = PipelineConfig.model_validate({"inpaint": {"margin": 2}, "provenance": mine})
    result = source.with_name(name)
    return result, await Pipeline(config).process(source, result)


def said(path: Path, capsys: Say) -> tuple[int, str]:
    capsys.readouterr()
    status = cli.call(["provenance", str(path)])
    return status, capsys.readouterr().out


async def test_a_signed_source_comes_out_with_both_manifests(
    signed: Path, credentials: Credentials, authority: Authority
) -> None:
    result, report = await cleaned(signed, credentials)

    store = store_of(result, authority)
    assert store["validation_state"] == "Trusted"
    assert len(store["manifests"]) == 2
    (parent,) = active(store)["ingredients"]
    assert parent["relationship"] == "parentOf"
    assert report.provenance is not None
    assert report.provenance.source_manifest
    assert report.provenance.signed
    assert report.provenance.digital_source_type == GENERATED
    assert report.provenance.basis == "c2pa"
    assert report.provenance.source_hashes_hold
    assert report.provenance.source_issues == ("signingCredential.untrusted",)
    assert "carried as it is" in str(report.provenance.note)


async def test_the_chain_is_printed(signed: Path, credentials: Credentials, capsys: Say) -> None:
    result, _ = await cleaned(signed, credentials)
    status, text = said(result, capsys)
    assert status == 0
    lines = text.splitlines()
    assert "its hashes hold" in lines[0]
    assert lines[1] == "1. this file"
    assert "claimed by sorawm-pipeline" in lines[2]
    assert "signed by test signer (Test)" in lines[2]
    assert "2. opened from signed.mp4" in lines
    assert "12 frames changed" in text
    assert f"- c2pa.created by Sora [{GENERATED}]" in text
    assert lines[-1] == f"Origin by its manifest: {GENERATED}, made by Sora"

    cli.call(["provenance", str(result), "--json"])
    told = json.loads(capsys.readouterr().out)
    assert told["altered"] is False
    assert [link["file"] for link in told["links"]] == [None, "signed.mp4"]
    assert told["links"][1]["actions"][0]["name"] == "c2pa.created"


async def test_a_second_cleaning_makes_the_chain_longer(
    signed: Path, credentials: Credentials
) -> None:
    once, _ = await cleaned(signed, credentials, "once.mp4")
    twice, _ = await cleaned(once, credentials, "twice.mp4")
    chain = read_chain(twice)
    assert [link.file for link in chain.links] == [None, "once.mp4", "signed.mp4"]
    assert chain.provenance.generator == "Sora"
    assert not chain.altered


async def test_a_flipped_byte_is_found(
    signed: Path, credentials: Credentials, tmp_path: Path, capsys: Say
) -> None:
    result, _ = await cleaned(signed, credentials)
    broken = copied(result, tmp_path / "broken.mp4")
    flip(broken, b"mdat", 200)
    assert store_of(broken)["validation_state"] == "Invalid"
    status, text = said(broken, capsys)
    assert status == 1
    assert "its hashes do NOT hold: it was altered" in text
    assert "assertion.bmffHash.mismatch" in text
    assert text.splitlines()[-1].startswith("It says nothing that can be believed")


async def test_a_remuxed_copy_has_lost_its_manifest_and_is_reported_so(
    signed: Path, credentials: Credentials, tmp_path: Path, capsys: Say
) -> None:
    copy = remuxed(signed, tmp_path / "copy.mp4")
    status, text = said(copy, capsys)
    assert status == 0
    assert "no C2PA manifest" in text
    result, report = await cleaned(copy, credentials)
    assert report.provenance is not None
    assert not report.provenance.source_manifest
    assert report.provenance.source_validation is None
    assert report.provenance.digital_source_type is None, "12 marked frames are too few to tell"
    assert [link.file for link in read_chain(result).links] == [None], "a parent without manifest"


async def test_an_expired_manifest_is_carried_with_its_status(
    credentials: Credentials, tmp_path: Path, capsys: Say
) -> None:
    source = copied(EXPIRED, tmp_path / "expired.mp4")
    result, report = await cleaned(source, credentials)
    assert report.provenance is not None
    assert report.provenance.source_validation == "Invalid"
    assert "signingCredential.expired" in report.provenance.source_issues
    assert report.provenance.source_hashes_hold
    assert report.provenance.digital_source_type == GENERATED
    status, text = said(result, capsys)
    assert status == 0
    assert "its hashes held (" in text
    assert "signingCredential.expired" in text


async def test_a_source_that_was_altered_is_reported_and_not_vouched_for(
    signed: Path, credentials: Credentials, tmp_path: Path, capsys: Say
) -> None:
    altered = copied(signed, tmp_path / "altered.mp4")
    flip(altered, b"libx264" if b"libx264" in altered.read_bytes() else b"x264", 0)
    result, report = await cleaned(altered, credentials)
    assert report.provenance is not None
    assert report.provenance.source_manifest
    assert report.provenance.source_hashes_hold is False
    assert report.provenance.digital_source_type is None
    assert "not vouched for" in str(report.provenance.note)
    status, text = said(result, capsys)
    assert status == 1
    assert "when it was opened: its hashes did NOT hold" in text


async def test_without_a_certificate_the_local_one_is_said_to_be_untrusted(
    signed: Path, capsys: Say
) -> None:
    result, report = await cleaned(signed)
    assert report.provenance is not None
    assert "made on this machine: untrusted" in str(report.provenance.note)
    _, text = said(result, capsys)
    assert "signingCredential.untrusted" in text.splitlines()[0]


def test_a_file_that_is_not_there(tmp_path: Path, capsys: Say) -> None:
    assert cli.call(["provenance", str(tmp_path / "none.mp4")]) == 1
    assert "cannot be read: No such file" in capsys.readouterr().err


def test_hostile_words_stay_on_their_line(
    signed: Path, credentials: Credentials, make_clip: MakeClip, tmp_path: Path, capsys: Say
) -> None:
    odd = signed.rename(tmp_path / "odd\n\x1b[31mname.mp4")
    status, text = said(odd, capsys)
    assert status == 0
    assert "\x1b" not in text
