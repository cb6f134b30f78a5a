"""Which encoders and decoders of this PyAV build really work, proved by coding a small picture.

That a codec is compiled in says little: hardware codecs need a device, a driver and its libraries.
They are tried in a process of their own (`codec_probe`), because drivers print, hang and crash.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Literal

from sorawm_pipeline.errors import DeviceError

Kind = Literal["encoder", "decoder", "accelerator"]

MAKERS = ("nvenc", "qsv", "amf", "videotoolbox", "vaapi", "v4l2m2m")
"""Kinds of encoders in hardware, by how often they are met."""

ENCODERS: Mapping[str, Sequence[str]] = {
    "h264": ("libx264", *(f"h264_{maker}" for maker in MAKERS)),
    "hevc": ("libx265", *(f"hevc_{maker}" for maker in MAKERS)),
    "av1": ("libsvtav1", "av1_nvenc", "av1_qsv", "av1_amf", "av1_vaapi"),
    "vp9": ("libvpx-vp9", "vp9_qsv", "vp9_vaapi", "vp9_v4l2m2m"),
    "ffv1": ("ffv1",),
    "mjpeg": ("mjpeg", "mjpeg_qsv", "mjpeg_vaapi"),
    "vp8": ("libvpx", "vp8_vaapi", "vp8_v4l2m2m"),
}
"""libav's encoders per codec: the software one, then hardware in the order in which it is used."""

UPLOADED: Mapping[str, Sequence[str]] = {
    "h264_vaapi": ("nv12",),
    "hevc_vaapi": ("nv12", "p010le"),
    "av1_vaapi": ("nv12", "p010le"),
    "vp9_vaapi": ("nv12", "p010le"),
    "mjpeg_vaapi": ("nv12",),
    "vp8_vaapi": ("nv12",),
}
"""Encoders that take pictures on their device alone, and the formats that are brought there.

All others take pictures in memory. PyAV makes the frames context and uploads to it where a stream
is given a device; libav does not say which formats a device takes before it is open.
"""

DECODERS: Mapping[str, Sequence[str]] = {
    "h264": ("h264", "h264_cuvid", "h264_qsv"),
    "hevc": ("hevc", "hevc_cuvid", "hevc_qsv"),
    "av1": ("libdav1d", "av1_cuvid", "av1_qsv"),
    "vp9": ("vp9", "vp9_cuvid", "vp9_qsv"),
    "ffv1": ("ffv1",),
    "mjpeg": ("mjpeg", "mjpeg_cuvid", "mjpeg_qsv"),
    "vp8": ("vp8", "vp8_cuvid", "vp8_qsv"),
}
"""libav's decoders per codec, in the same order."""

ACCELERATORS = ("cuda", "qsv", "vaapi", "d3d11va", "videotoolbox")
"""libav's devices that decode for its own decoders, in the order in which they are used."""

ACCELERATED: Mapping[str, str] = {"h264": "h264", "hevc": "hevc", "av1": "av1", "vp9": "vp9"}
"""Its decoder that devices help, by codec."""

TIMEOUT_S = 20.0


def upload_device(encoder: str) -> str | None:
    """The device, as libav calls it, that an encoder's pictures must be brought to, or None."""
    return encoder.rpartition("_")[2] if encoder in UPLOADED else None


@dataclass(frozen=True, slots=True)
class CodecProbe:
    """What became of trying one of them; `reason` is None if it works."""

    kind: Kind
    codec: str
    name: str
    reason: str | None = None

    @property
    def works(self) -> bool:
        return self.reason is None

    @property
    def label(self) -> str:
        """What was tried, in words."""
        helped = f" {self.codec}" if self.kind == "accelerator" else ""
        return f"{self.kind} {self.name}{helped}"

    @property
    def hardware(self) -> bool:
        if self.kind == "accelerator":
            return True
        tables = {"encoder": ENCODERS, "decoder": DECODERS}
        return tables[self.kind][self.codec][0] != self.name


def known() -> list[tuple[Kind, str, str]]:
    """Kind, codec and name of everything that is tried, in that order."""
    encoders: list[tuple[Kind, str, str]] = [
        ("encoder", codec, name) for codec, names in ENCODERS.items() for name in names
    ]
    decoders: list[tuple[Kind, str, str]] = [
        ("decoder", codec, name) for codec, names in DECODERS.items() for name in names
    ]
    return [
        *encoders,
        *decoders,
        *(("accelerator", codec, name) for codec in ACCELERATED for name in ACCELERATORS),
    ]


def accelerator_for(codec: str) -> tuple[str | None, list[tuple[str, str]]]:
    """The first device that decodes a codec here, and why those before it do not."""
    tried: list[tuple[str, str]] = []
    for probe in probe_codecs():
        if (probe.kind, probe.codec) == ("accelerator", codec):
            if probe.reason is None:
                return probe.name, tried
            tried.append((probe.name, probe.reason))
    return None, tried


@cache
def probe_codecs() -> tuple[CodecProbe, ...]:
    """All known encoders and decoders, each tried once; cached for the life of the process.

    One that crashes or hangs its process is reported so, and the rest are tried in a fresh one.
    """
    wanted = known()
    found: list[CodecProbe] = []
    while len(found) < len(wanted):
        answers, ending = _probe_elsewhere(skip=len(found))
        found += answers
        if len(found) < len(wanted):
            found.append(CodecProbe(*wanted[len(found)], reason=ending))
    return tuple(found)


def encoder_for(codec: str) -> str:
    """The name in libav of the first encoder for `codec` that works here, software before hardware.

    Raises:
        DeviceError: none does; the message gives the reason of each.
    """
    tried = [probe for probe in probe_codecs() if (probe.kind, probe.codec) == ("encoder", codec)]
    for probe in tried:
        if probe.works:
            return probe.name
    reasons = "; ".join(f"{probe.name}: {probe.reason}" for probe in tried)
    raise DeviceError(f"no encoder for {codec} works here ({reasons or 'none is known'})")


def _probe_elsewhere(skip: int) -> tuple[list[CodecProbe], str]:
    """Probe all but the first `skip` in a new process: its answers, and how it ended."""
    paths = [str(Path(__file__).parents[2]), os.environ.get("PYTHONPATH", "")]
    try:
        done = subprocess.run(  # noqa: S603 - our own module
            [sys.executable, "-m", "sorawm_pipeline.hardware.codec_probe", str(skip)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            timeout=TIMEOUT_S,
            env=os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, paths))},
            check=False,
        )
        output, ending = done.stdout, f"the probe ended with status {done.returncode}"
        if done.returncode < 0:
            ending = f"the probe crashed ({signal.Signals(-done.returncode).name})"
    except subprocess.TimeoutExpired as error:
        output, ending = error.stdout or b"", f"no answer within {TIMEOUT_S:g} s"
    except OSError as error:
        output, ending = b"", f"the probe could not start: {error.strerror}"
    whole_lines = output.rpartition(b"\n")[0].splitlines()
    return [CodecProbe(**json.loads(line)) for line in whole_lines], ending
