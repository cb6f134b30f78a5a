"""What is said of a file is true, stays with it, and can be checked by anyone's C2PA reader."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any, NamedTuple

import av
import c2pa
import numpy as np
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from sorawm_pipeline.errors import ConfigError, OutputError
from sorawm_pipeline.media import boxes, lineage, manifest, signing, xmp
from sorawm_pipeline.media.provenance import (
    Credentials,
    Edit,
    ProvenanceReport,
    SourceProvenance,
    container_tags,
    read_provenance,
    seal,
)

IPTC = "http://cv.iptc.org/newscodes/digitalsourcetype/"
GENERATED = f"{IPTC}trainedAlgorithmicMedia"
MIME = {".mp4": "video/mp4", ".mov": "video/quicktime", ".avi": "video/avi"}
EDIT = Edit(
    software="sorawm-pipeline 0.1.0",
    description="visible overlay mark removed from 9 of 10 frames",
    when=datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC),
)
CREATED = {
    "claim_generator_info": [{"name": "OpenAI"}],
    "assertions": [
        {
            "label": "c2pa.actions.v2",
            "data": {
                "actions": [
                    {
                        "action": "c2pa.created",
                        "softwareAgent": {"name": "Sora"},
                        "digitalSourceType": GENERATED,
                    }
                ]
            },
        }
    ],
}


class Authority(NamedTuple):
    """A certificate authority for tests, and what it issues."""

    key: ec.EllipticCurvePrivateKey
    certificate: x509.Certificate

    @classmethod
    def make(cls) -> Authority:
        key = ec.generate_private_key(ec.SECP256R1())
        return cls(key, certificate("test root", key, None, key))

    def issue(
        self, folder: Path, key: Any = None, *, purpose: str = "", seconds: float = 86400
    ) -> Credentials:
        key = key or ec.generate_private_key(ec.SECP256R1())
        leaf = certificate("test signer", key, self, self.key, purpose=purpose, seconds=seconds)
        folder.mkdir(exist_ok=True)
        (folder / "chain.pem").write_bytes(pem(leaf) + pem(self.certificate))
        (folder / "key.pem").write_bytes(key_pem(key))
        return Credentials(folder / "chain.pem", folder / "key.pem")


def certificate(
    name: str,
    key: Any,
    issuer: Authority | None,
    issuer_key: Any,
    *,
    purpose: str = "",
    seconds: float = 86400,
) -> x509.Certificate:
    subject = x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Test"),
            x509.NameAttribute(NameOID.COMMON_NAME, name),
        ]
    )
    now = datetime.now(UTC)
    root = issuer is None
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer.certificate.subject if issuer else subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(seconds=seconds))
        .add_extension(x509.BasicConstraints(ca=root, path_length=None), critical=True)
        .add_extension(
            x509.KeyUsage(not root, False, False, False, False, root, root, False, False),
            critical=True,
        )
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key()),
            critical=False,
        )
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )
    if not root:
        oid = x509.ObjectIdentifier(purpose) if purpose else ExtendedKeyUsageOID.EMAIL_PROTECTION
        builder = builder.add_extension(x509.ExtendedKeyUsage([oid]), critical=False)
    return builder.sign(issuer_key, hashes.SHA256())


def pem(found: x509.Certificate) -> bytes:
    return found.public_bytes(serialization.Encoding.PEM)


def key_pem(key: Any, encryption: Any = None) -> bytes:
    return bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            encryption or serialization.NoEncryption(),
        )
    )


def make_clip(path: Path, tags: dict[str, str] | None = None, shade: int = 5) -> Path:
    with av.open(str(path), "w") as container:
        container.metadata.update(tags or {})
        stream = container.add_stream("mpeg4", rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for index in range(10):
            pixels = np.full((48, 64, 3), index * shade, np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, "rgb24")))
        container.mux(stream.encode(None))
    return path


def frames_and_packets(path: Path) -> tuple[int, list[bytes]]:
    with av.open(str(path)) as container:
        packets = [bytes(packet) for packet in container.demux(video=0)]
    with av.open(str(path)) as container:
        return sum(1 for _ in container.decode(video=0)), packets


def sign_source(plain: Path, signed: Path, credentials: Credentials) -> Path:
    """What a generator does: a manifest that says how the picture was created."""
    info = c2pa.C2paSignerInfo(
        c2pa.C2paSigningAlg.ES256,
        credentials.certificate.read_bytes(),
        credentials.key.read_bytes(),
        None,
    )
    with (
        c2pa.Context.from_dict({}) as context,
        c2pa.Signer.from_info(info) as signer,
        c2pa.Builder(CREATED, context) as builder,
        plain.open("rb") as source,
        signed.open("w+b") as target,
    ):
        builder.sign(signer, MIME[plain.suffix], source, target)
    return signed


def store_of(path: Path, authority: Authority | None = None) -> dict[str, Any]:
    """The manifest store as an independent reader sees it, with the test authority trusted."""
    anchors = {"trust": {"trust_anchors": pem(authority.certificate).decode()}} if authority else {}
    with (
        c2pa.Context.from_dict(anchors) as context,
        path.open("rb") as file,
        c2pa.Reader(MIME[path.suffix], file, context=context) as reader,
    ):
        return dict(json.loads(reader.json()))


def active(store: dict[str, Any]) -> dict[str, Any]:
    return dict(store["manifests"][store["active_manifest"]])


def flip(path: Path, marker: bytes, offset: int) -> None:
    data = bytearray(path.read_bytes())
    data[data.index(marker) + offset] ^= 1
    path.write_bytes(data)


def copied(source: Path, target: Path) -> Path:
    return Path(shutil.copy(source, target))


class Studio(NamedTuple):
    """Clips to start from; tests copy what they change."""

    folder: Path
    authority: Authority
    credentials: Credentials

    def signed(self, suffix: str = ".mp4") -> Path:
        return self.folder / f"signed{suffix}"

    def plain(self, suffix: str = ".mp4") -> Path:
        return self.folder / f"plain{suffix}"


@pytest.fixture(scope="module")
def studio(tmp_path_factory: pytest.TempPathFactory) -> Studio:
    folder = tmp_path_factory.mktemp("studio")
    authority = Authority.make()
    credentials = authority.issue(folder / "signer")
    for suffix in (*MIME, ".mkv", ".ts"):
        plain = make_clip(folder / f"plain{suffix}")
        if suffix in MIME:
            sign_source(plain, folder / f"signed{suffix}", credentials)
    return Studio(folder, authority, credentials)


@pytest.fixture
def sealed(studio: Studio, tmp_path: Path) -> Callable[..., tuple[Path, ProvenanceReport]]:
    """Seals a re-encoded copy of a source, as the pipeline does."""

    def run(
        source_path: Path, suffix: str = ".mp4", credentials: Credentials | None = None
    ) -> tuple[Path, ProvenanceReport]:
        source = read_provenance(source_path)
        result = tmp_path / f"result{suffix}"
        tags = container_tags(source, EDIT, source.digital_source_type)
        make_clip(result, tags, shade=6)
        report = seal(
            result,
            source_path=source_path,
            source=source,
            edit=EDIT,
            digital_source_type=source.digital_source_type,
            credentials=credentials,
            state_dir=tmp_path / "state",
        )
        return result, report

    return run


Seal = Callable[..., tuple[Path, ProvenanceReport]]


@pytest.mark.parametrize("suffix", MIME)
def test_a_signed_source_says_where_it_came_from(studio: Studio, suffix: str) -> None:
    assert read_provenance(studio.signed(suffix)) == SourceProvenance(
        manifest=True,
        validation="Valid",
        validation_issues=("signingCredential.untrusted",),
        hashes_hold=True,
        digital_source_type=GENERATED,
        basis="c2pa",
        generator="Sora",
    )


@pytest.mark.parametrize("suffix", [*MIME, ".mkv", ".ts"])
def test_a_source_without_statements_is_unknown(studio: Studio, suffix: str) -> None:
    unknown = SourceProvenance(False, None, (), None, None, None, None)
    assert read_provenance(studio.plain(suffix)) == unknown


@pytest.mark.parametrize("suffix", MIME)
def test_a_sealed_result_carries_the_source_and_says_what_was_done(
    studio: Studio, sealed: Seal, suffix: str
) -> None:
    result, report = sealed(studio.signed(suffix), suffix, studio.credentials)

    store = store_of(result, studio.authority)
    assert store["validation_state"] == "Trusted"
    assert len(store["manifests"]) == 2
    found = active(store)
    assert found["claim_generator_info"][0]["name"] == "sorawm-pipeline"
    (parent,) = found["ingredients"]
    assert parent["relationship"] == "parentOf"
    assert parent["title"] == f"signed{suffix}"
    created = store["manifests"][parent["active_manifest"]]
    assert created["signature_info"]["common_name"] == "test signer"

    (actions,) = [a for a in found["assertions"] if a["label"] == "c2pa.actions.v2"]
    assert actions["created"] is True
    opened, edited = actions["data"]["actions"]
    assert opened["action"] == "c2pa.opened"
    assert "digitalSourceType" not in opened  # forbidden there
    (reference,) = opened["parameters"]["ingredients"]
    assert reference["url"].endswith(parent["label"])
    assert edited == {
        "action": "c2pa.edited",
        "when": "2026-01-02T03:04:05Z",
        "softwareAgent": {"name": "sorawm-pipeline", "version": "0.1.0"},
        "description": EDIT.description,
        "digitalSourceType": GENERATED,
    }
    assert report.signed
    assert report.source_manifest
    assert report.digital_source_type == GENERATED
    assert (report.basis, report.generator) == ("c2pa", "Sora")
    assert read_provenance(result).generator == "Sora"  # through the chain, a second time


@pytest.mark.parametrize("suffix", MIME)
def test_sealing_changes_no_packet(studio: Studio, sealed: Seal, suffix: str) -> None:
    result, _ = sealed(studio.signed(suffix), suffix)
    twin = make_clip(result.with_stem("twin"), shade=6)

    assert frames_and_packets(result) == frames_and_packets(twin)
    assert frames_and_packets(result)[0] == 10


def test_a_source_of_unknown_origin_gets_no_claim_about_it(studio: Studio, sealed: Seal) -> None:
    result, report = sealed(studio.plain())

    found = active(store_of(result))
    assert "digitalSourceType" not in json.dumps(found)
    assert "c2pa.edited" in json.dumps(found)
    packet = xmp.read_packet(result)
    assert packet is not None
    assert "DigitalSourceType" not in packet
    assert report.digital_source_type is None
    assert report.basis is None


def test_a_flipped_byte_in_a_result_is_found(studio: Studio, sealed: Seal) -> None:
    result, _ = sealed(studio.signed())
    flip(result, b"mdat", 100)

    found = read_provenance(result)

    assert found.hashes_hold is False
    assert "assertion.bmffHash.mismatch" in found.validation_issues


def test_the_xmp_packet_is_under_the_signature(studio: Studio, sealed: Seal) -> None:
    result, _ = sealed(studio.signed())
    flip(result, b"stEvt:parameters", 20)
    assert read_provenance(result).hashes_hold is False


@pytest.mark.parametrize(
    ("marker", "offset", "code"),
    [
        (b"mdat", 100, "assertion.bmffHash.mismatch"),
        (b"trainedAlgorithmicMedia", 0, "assertion.hashedURI.mismatch"),
    ],
)
def test_a_source_whose_hashes_fail_is_carried_but_not_vouched_for(
    studio: Studio, sealed: Seal, tmp_path: Path, marker: bytes, offset: int, code: str
) -> None:
    broken = copied(studio.signed(), tmp_path / "broken.mp4")
    flip(broken, marker, offset)

    result, report = sealed(broken)

    assert (report.validation, report.hashes_hold) == ("Invalid", False)
    assert code in report.validation_issues
    assert (report.digital_source_type, report.basis, report.generator) == (None, None, None)
    assert report.note is not None
    assert "not vouched for" in report.note
    (parent,) = active(store_of(result))["ingredients"]
    recorded = [
        entry["code"] for entry in parent["validation_results"]["activeManifest"]["failure"]
    ]
    assert code in recorded
    again = read_provenance(result)
    assert again.hashes_hold  # ours hold; what lies beyond the failure is still not believed
    assert again.digital_source_type is None


def test_xmp_is_no_way_around_hashes_that_fail(studio: Studio, tmp_path: Path) -> None:
    plain = Path(copied(studio.plain(), tmp_path / "plain.mp4"))
    boxes.append_xmp(plain, SOURCE_XMP.encode())
    broken = sign_source(plain, tmp_path / "broken.mp4", studio.credentials)
    flip(broken, b"mdat", 100)

    found = read_provenance(broken)

    assert (found.hashes_hold, found.digital_source_type, found.basis) == (False, None, None)


def test_a_manifest_bound_to_nothing_does_not_hold() -> None:
    assert not manifest.status({"validation_state": "Valid"}).hashes_hold


def test_a_remuxed_copy_is_reported_without_manifest(studio: Studio, tmp_path: Path) -> None:
    copy = tmp_path / "copy.mp4"
    with av.open(str(studio.signed())) as source, av.open(str(copy), "w") as target:
        stream = target.add_stream_from_template(source.streams.video[0])
        for packet in source.demux(video=0):
            if packet.dts is not None:
                packet.stream = stream
                target.mux(packet)

    assert read_provenance(copy) == SourceProvenance(False, None, (), None, None, None, None)


def test_a_manifest_that_cannot_be_read_is_reported(
    studio: Studio, sealed: Seal, tmp_path: Path
) -> None:
    broken = copied(studio.signed(), tmp_path / "broken.mp4")
    flip(broken, b"jumb", 0)

    result, report = sealed(broken)

    assert report.source_manifest
    assert report.validation == "Invalid"
    assert report.validation_issues[0].startswith("manifest.unreadable")
    assert report.note is not None
    assert "could not be carried" in report.note
    assert active(store_of(result))["ingredients"][0]["title"] == "broken.mp4"


def hostile_files(studio: Studio) -> dict[str, bytes]:
    signed = studio.signed().read_bytes()
    store = b"uuid" + bytes.fromhex("d8fec3d61b0e483c92975828877ec481")
    return {
        "empty": b"",
        "text": b"not a video at all, " * 50,
        "cut in the manifest": signed[:500],
        "cut in the header": signed[:30],
        "box without end": b"\0\0\0\x18ftypisom" + bytes(12) + b"\xff\xff\xff\xff" + store,
        "box smaller than its head": b"\0\0\0\x18ftypisom"
        + bytes(12)
        + b"\0\0\0\x01mdat"
        + bytes(8),
        "overwritten manifest": signed.replace(b"jumb", b"jumd"),
        "riff": b"RIFF\xff\xff\xff\xffAVI LIST\xff\xff\xff\xffC2PA",
    }


@pytest.mark.parametrize(
    "name",
    [
        "empty",
        "text",
        "cut in the manifest",
        "cut in the header",
        "box without end",
        "box smaller than its head",
        "overwritten manifest",
        "riff",
    ],
)
def test_broken_files_are_reported_not_raised(studio: Studio, tmp_path: Path, name: str) -> None:
    path = tmp_path / "hostile.mp4"
    path.write_bytes(hostile_files(studio)[name])
    found = read_provenance(path)
    assert (found.digital_source_type, found.hashes_hold) == (None, None)


def test_a_huge_manifest_store_is_not_opened(studio: Studio, tmp_path: Path) -> None:
    signed = studio.signed().read_bytes()
    head = signed[:28]
    huge = tmp_path / "huge.mp4"
    size = 3 << 30
    with huge.open("wb") as file:
        file.write(head + b"\0\0\0\1uuid" + size.to_bytes(8) + signed[36:500])
        file.truncate(len(head) + size)

    started = time.monotonic()
    found = read_provenance(huge)

    assert found.manifest
    assert found.validation_issues == ("manifest.unreadable: larger than 64 MiB",)
    assert time.monotonic() - started < 1


SOURCE_XMP = """<?xpacket begin="" id="W5M0MpCehiHzreSzNTczkc9d"?>
<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF
 xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"><rdf:Description rdf:about=""
 xmlns:dc="http://purl.org/dc/elements/1.1/" xmlns:xmpMM="http://ns.adobe.com/xap/1.0/mm/"
 xmlns:e="http://ns.adobe.com/xap/1.0/sType/ResourceEvent#"
 xmlns:q="http://iptc.org/std/Iptc4xmpExt/2008-02-29/" xmlns:xmp="http://ns.adobe.com/xap/1.0/"
 xmp:CreatorTool="Dream Machine" xmpMM:InstanceID="xmp.iid:1" xmpMM:DocumentID="xmp.did:2">
<q:DigitalSourceType>http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia\
</q:DigitalSourceType><dc:title><rdf:Alt><rdf:li xml:lang="x-default">H\u00e9llo &amp; you</rdf:li>\
</rdf:Alt></dc:title><xmpMM:History><rdf:Seq><rdf:li rdf:parseType="Resource">\
<e:action>created</e:action></rdf:li></rdf:Seq></xmpMM:History></rdf:Description></rdf:RDF>
</x:xmpmeta>     <?xpacket end="w"?>"""


@pytest.mark.parametrize("suffix", [".mp4", ".mov"])
def test_the_xmp_of_a_source_is_kept_and_extended(
    studio: Studio, sealed: Seal, tmp_path: Path, suffix: str
) -> None:
    source = copied(studio.plain(suffix), tmp_path / f"source{suffix}")
    boxes.append_xmp(source, SOURCE_XMP.encode())

    result, report = sealed(source, suffix)

    assert (report.digital_source_type, report.basis) == (GENERATED, "xmp")
    assert report.generator == "Dream Machine"
    packet = xmp.read_packet(result)
    assert packet is not None
    assert packet.count("trainedAlgorithmicMedia") == 1
    assert "Héllo &amp; you" in packet
    assert packet.index("<e:action>created") < packet.index('stEvt:action="edited"')
    assert 'stEvt:softwareAgent="sorawm-pipeline 0.1.0"' in packet
    assert f'stEvt:parameters="{EDIT.description}"' in packet
    assert packet.count("History>") == 2  # one list, opened and closed
    assert 'stRef:instanceID="xmp.iid:1"' in packet
    assert xmp.statement(packet, "xmpMM:DocumentID") == "xmp.did:2"
    assert xmp.statement(packet, "xmpMM:InstanceID") != "xmp.iid:1"


def test_quicktime_keeps_xmp_in_its_own_place(studio: Studio, tmp_path: Path) -> None:
    data = studio.plain(".mov").read_bytes()
    at = data.index(b"moov") - 4
    moov = data[at : at + int.from_bytes(data[at : at + 4])]
    packet = SOURCE_XMP.encode()
    inner = (8 + len(packet)).to_bytes(4) + b"XMP_" + packet
    grown = moov[4:] + (8 + len(inner)).to_bytes(4) + b"udta" + inner
    source = tmp_path / "source.mov"
    source.write_bytes(data[:at] + (4 + len(grown)).to_bytes(4) + grown)

    assert read_provenance(source).basis == "xmp"


@pytest.mark.parametrize(
    "packet",
    [
        b'<!DOCTYPE a [<!ENTITY b "bbbb">]>' + SOURCE_XMP.encode(),
        b"<a>" * 3_000 + b"</a>" * 3_000,
        "<a/>".encode("utf-16"),
        b"<a/>",
        SOURCE_XMP.encode() + b" " * xmp.MAX_PACKET_BYTES,
    ],
    ids=["entities", "too deep", "utf-16", "no rdf", "too long"],
)
def test_xmp_that_cannot_be_read_is_left_out_and_said_so(
    studio: Studio, sealed: Seal, tmp_path: Path, packet: bytes
) -> None:
    source = copied(studio.plain(), tmp_path / "source.mp4")
    boxes.append_xmp(source, packet)

    result, report = sealed(source)

    assert report.digital_source_type is None
    assert report.note is not None
    assert "XMP could not be read" in report.note
    assert EDIT.description in (xmp.read_packet(result) or "")


def test_a_second_packet_replaces_the_first_and_moves_nothing(
    studio: Studio, tmp_path: Path
) -> None:
    path = copied(studio.plain(), tmp_path / "clip.mp4")
    before = path.read_bytes()
    boxes.append_xmp(path, b"first")
    boxes.append_xmp(path, b"second")

    assert boxes.read_xmp(path, 100) == b"second"
    assert path.read_bytes().startswith(before)
    assert frames_and_packets(path)[0] == 10


def test_matroska_gets_tags_and_keeps_the_comment_it_had(
    studio: Studio, sealed: Seal, tmp_path: Path
) -> None:
    source = make_clip(
        tmp_path / "source.mkv", {"comment": "holiday", "DIGITAL_SOURCE_TYPE": GENERATED}
    )

    result, report = sealed(source, ".mkv")

    found = read_provenance(result)
    assert (found.digital_source_type, found.basis) == (GENERATED, "metadata")
    assert found.comment is not None
    assert found.comment.startswith("holiday\nEdited with sorawm-pipeline 0.1.0 on 2026-01-02")
    assert EDIT.description in found.comment
    assert not report.signed
    assert report.note is not None
    assert "cannot carry a C2PA manifest" in report.note
    assert "its tags say what was done" in report.note


@pytest.mark.parametrize(
    ("suffix", "says"),
    [(".mkv", "its tags say what was done"), (".ts", "a file beside it (.xmp) says what was done")],
)
def test_a_container_without_manifests_is_not_signed(
    studio: Studio, sealed: Seal, suffix: str, says: str
) -> None:
    result, report = sealed(studio.signed(), suffix)

    assert not report.signed
    assert report.note is not None
    assert says in report.note
    assert "source's manifest could not be carried" in report.note
    assert not (result.parent / "state").exists()


def test_no_address_in_a_file_is_called(studio: Studio, sealed: Seal, tmp_path: Path) -> None:
    calls = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            calls.append(self.path)
            self.send_error(404)

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        address = f"http://127.0.0.1:{server.server_port}/store.c2pa"
        link = (
            f'rdf:about="" xmlns:dcterms="http://purl.org/dc/terms/" dcterms:provenance="{address}"'
        )
        source = copied(studio.plain(), tmp_path / "source.mp4")
        boxes.append_xmp(source, SOURCE_XMP.replace('rdf:about=""', link).encode())

        found = read_provenance(source)
        _, report = sealed(source)
        server.shutdown()

    assert found.validation_issues == ("manifest.inaccessible",)
    assert report.signed
    assert calls == []


def test_the_local_certificate_is_private_kept_and_not_trusted(
    studio: Studio, sealed: Seal, tmp_path: Path
) -> None:
    result, report = sealed(studio.signed())
    store = store_of(result, studio.authority)

    assert store["validation_state"] == "Valid"
    assert [entry["code"] for entry in store["validation_status"]] == [
        "signingCredential.untrusted"
    ]
    assert "unverified" in active(store)["signature_info"]["common_name"]
    assert not report.trusted_certificate
    assert report.note is not None
    assert "untrusted" in report.note
    (kept,) = (tmp_path / "state").iterdir()
    assert kept.stat().st_mode & 0o777 == 0o600
    before = kept.read_bytes()
    sealed(studio.signed())
    assert kept.read_bytes() == before


def test_many_processes_make_one_identity(tmp_path: Path) -> None:
    barrier = threading.Barrier(8)

    def make(_: int) -> bytes:
        barrier.wait()
        return signing.identity(None, tmp_path / "state").chain

    with ThreadPoolExecutor(8) as pool:
        assert len(set(pool.map(make, range(8)))) == 1
    assert len(list((tmp_path / "state").iterdir())) == 1


@pytest.mark.parametrize("state", ["expired", "damaged", "empty"])
def test_a_local_certificate_that_cannot_sign_is_renewed(
    studio: Studio, tmp_path: Path, state: str
) -> None:
    old = studio.authority.issue(tmp_path / "old", seconds=-10)
    text = {
        "expired": old.key.read_bytes() + old.certificate.read_bytes(),
        "damaged": b"-----BEGIN PRIVATE KEY-----\nrubbish",
        "empty": b"",
    }[state]
    folder = tmp_path / "state"
    folder.mkdir()
    (folder / "signing-identity.pem").write_bytes(text)

    assert signing.identity(None, folder).expires > datetime.now(UTC) + timedelta(days=3000)
    assert len(list(folder.iterdir())) == 1


KEYS = {
    "es384": lambda: ec.generate_private_key(ec.SECP384R1()),
    "ps256": lambda: rsa.generate_private_key(65537, 2048),
    "ed25519": ed25519.Ed25519PrivateKey.generate,
}


@pytest.mark.parametrize("algorithm", KEYS)
def test_the_key_decides_the_algorithm(
    studio: Studio, sealed: Seal, tmp_path: Path, algorithm: str
) -> None:
    credentials = studio.authority.issue(tmp_path / "user", KEYS[algorithm]())

    result, report = sealed(studio.signed(), ".mp4", credentials)

    store = store_of(result, studio.authority)
    assert store["validation_state"] == "Trusted"
    assert active(store)["signature_info"]["alg"].lower() == algorithm
    assert report.note is not None
    assert "configured certificate" in report.note


@pytest.mark.parametrize("purpose", ["1.3.6.1.4.1.62558.2.1", "1.3.6.1.5.5.7.3.36"])
def test_every_purpose_that_c2pa_names_is_accepted(
    studio: Studio, sealed: Seal, tmp_path: Path, purpose: str
) -> None:
    credentials = studio.authority.issue(tmp_path / "user", purpose=purpose)
    result, report = sealed(studio.signed(), ".mp4", credentials)
    assert report.signed
    assert read_provenance(result).validation == "Valid"


def bad_credentials(studio: Studio, folder: Path, name: str) -> Credentials:
    good = studio.authority.issue(folder)
    key = ec.generate_private_key(ec.SECP256R1())
    match name:
        case "missing":
            return replace(good, key=folder / "nowhere.pem")
        case "rubbish":
            good.certificate.write_bytes(b"rubbish")
        case "other key":
            good.key.write_bytes(key_pem(key))
        case "encrypted":
            secret = serialization.BestAvailableEncryption(b"x")
            good.key.write_bytes(key_pem(key, secret))
        case "expired":
            return studio.authority.issue(folder, seconds=-10)
        case "self-signed":
            good.certificate.write_bytes(pem(certificate("alone", key, None, key)))
            good.key.write_bytes(key_pem(key))
        case "wrong purpose":
            return studio.authority.issue(folder, purpose="1.3.6.1.5.5.7.3.1")
        case "wrong kind":
            key25519 = ec.generate_private_key(ec.SECP256K1())
            return studio.authority.issue(folder, key25519)
    return good


@pytest.mark.parametrize(
    "name",
    [
        "missing",
        "rubbish",
        "other key",
        "encrypted",
        "expired",
        "self-signed",
        "wrong purpose",
        "wrong kind",
    ],
)
def test_a_certificate_that_cannot_sign_is_a_mistake_in_the_configuration(
    studio: Studio, sealed: Seal, tmp_path: Path, name: str
) -> None:
    with pytest.raises(ConfigError, match=r"\.pem|certificate"):
        sealed(studio.signed(), ".mp4", bad_credentials(studio, tmp_path / "user", name))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["result.mp4", "user"]


def test_a_failed_signing_leaves_nothing_beside_the_file(
    studio: Studio, sealed: Seal, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise c2pa.C2paError("no ink")

    monkeypatch.setattr(c2pa.Builder, "sign", fail)
    with pytest.raises(OutputError, match="no ink"):
        sealed(studio.signed())
    assert frames_and_packets(tmp_path / "result.mp4")[0] == 10
    assert sorted(path.name for path in tmp_path.iterdir()) == ["result.mp4", "state"]


def test_a_full_disk_is_said_before_signing(
    studio: Studio, sealed: Seal, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = shutil.disk_usage("/")._replace(free=100)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    with pytest.raises(OutputError, match="free space") as caught:
        sealed(studio.signed())
    assert caught.value.kind == "no_space"


def test_the_mode_of_the_file_is_kept(studio: Studio, tmp_path: Path) -> None:
    path = copied(studio.plain(), tmp_path / "result.mp4")
    path.chmod(0o640)
    seal(
        path,
        source_path=studio.plain(),
        source=read_provenance(studio.plain()),
        edit=EDIT,
        digital_source_type=None,
        credentials=studio.credentials,
        state_dir=tmp_path,
    )
    assert path.stat().st_mode & 0o777 == 0o640


def made_by(kind: str | None, action: str, *parents: tuple[str, str, str]) -> dict[str, Any]:
    entry = {"action": action} | ({"digitalSourceType": f"{IPTC}{kind}"} if kind else {})
    return {
        "assertions": [{"label": "c2pa.actions.v2", "data": {"actions": [entry]}}],
        "ingredients": [
            {
                "active_manifest": label,
                "relationship": relationship,
                "validation_results": {"activeManifest": {"failure": [{"code": code}]}},
            }
            for label, relationship, code in parents
        ],
    }


@pytest.mark.parametrize(
    ("manifests", "expected"),
    [
        ([made_by("digitalCapture", "c2pa.created")], "digitalCapture"),
        ([made_by(None, "c2pa.edited")], None),
        (
            [
                made_by(None, "c2pa.edited", ("1", "parentOf", "signingCredential.expired")),
                made_by("trainedAlgorithmicMedia", "c2pa.created"),
            ],
            "trainedAlgorithmicMedia",
        ),
        (
            [
                made_by(None, "c2pa.edited", ("1", "parentOf", "assertion.bmffHash.mismatch")),
                made_by("trainedAlgorithmicMedia", "c2pa.created"),
            ],
            None,
        ),
        (
            [
                made_by(
                    "compositeWithTrainedAlgorithmicMedia", "c2pa.edited", ("1", "parentOf", "")
                ),
                made_by("digitalCapture", "c2pa.created"),
            ],
            "compositeWithTrainedAlgorithmicMedia",
        ),
        (
            [
                made_by(None, "c2pa.placed", ("1", "componentOf", ""), ("2", "parentOf", "")),
                made_by("trainedAlgorithmicMedia", "c2pa.created"),
                made_by("digitalCapture", "c2pa.created"),
            ],
            "compositeWithTrainedAlgorithmicMedia",
        ),
        (
            [
                made_by("humanEdits", "c2pa.edited", ("1", "parentOf", "")),
                made_by("digitalCapture", "c2pa.created", ("0", "parentOf", "")),
            ],
            "digitalCapture",
        ),
    ],
    ids=[
        "created",
        "unknown",
        "expired",
        "failed hash",
        "generated edit",
        "generated part",
        "loop",
    ],
)
def test_the_chain_decides_what_a_picture_is(
    manifests: list[dict[str, Any]], expected: str | None
) -> None:
    store = {"active_manifest": "0", "manifests": {str(i): m for i, m in enumerate(manifests)}}
    found = lineage.origin(store).digital_source_type
    assert found == (f"{IPTC}{expected}" if expected else None)


@pytest.mark.parametrize(
    ("said", "meant"),
    [
        (GENERATED, GENERATED),
        (GENERATED.replace("http:", "https:"), GENERATED),
        ("digsrctype:trainedAlgorithmicMedia", GENERATED),
        (" trainedAlgorithmicMedia ", GENERATED),
        ("http://c2pa.org/digitalsourcetype/empty", None),
        ("made by a human, honest", None),
        ("http://example.com/trainedAlgorithmicMedia", None),
        (None, None),
        (7, None),
    ],
)
def test_spellings_of_a_digital_source_type(said: object, meant: str | None) -> None:
    assert lineage.source_type(said) == meant


def test_importing_costs_nothing_until_it_is_used() -> None:
    code = (
        "import sys; import sorawm_pipeline.media.provenance;"
        "print([m for m in ('c2pa', 'cryptography', 'av') if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=os.environ
    )
    assert done.stdout.strip() == "[]"


def test_an_expired_certificate_is_still_the_truth_about_the_source(
    sealed: Seal,
) -> None:
    # Signed as `Studio.signed` is, by a certificate that was valid for two seconds.
    result, report = sealed(Path(__file__).parent / "data" / "expired.mp4")

    assert report.validation == "Invalid"
    assert "signingCredential.expired" in report.validation_issues
    assert report.hashes_hold
    assert report.digital_source_type == GENERATED
    assert report.note is not None
    assert "carried as it is" in report.note
    store = store_of(result)
    assert store["validation_state"] == "Valid"
    (parent,) = active(store)["ingredients"]
    recorded = [
        entry["code"] for entry in parent["validation_results"]["activeManifest"]["failure"]
    ]
    assert "signingCredential.expired" in recorded
