"""The sections of pipeline.yaml.

A field's description completes the sentence "expected ..." of its errors.
"""

from __future__ import annotations

import re
from importlib.metadata import entry_points
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator

_BYTES = re.compile(r"(\d{1,15}(?:\.\d+)?)\s*([kmgt]?)(i?)b?", re.IGNORECASE)


def parse_bytes(text: str) -> int | None:
    """`4GB`, `512M` or `4GiB` as a number; k M G T are powers of 1000, Ki Mi Gi Ti of 1024."""
    match = _BYTES.fullmatch(text.strip())
    if match is None:
        return None
    number, unit, binary = match.groups()
    return int(float(number) * (1024 if binary else 1000) ** " kmgt".index(unit.lower() or " "))


def _bytes(value: object) -> object:
    return parse_bytes(value) if isinstance(value, str) else value


def _path(value: object) -> Path:
    if isinstance(value, str | Path) and str(value) and "\0" not in str(value):
        try:
            return Path(value).expanduser()
        except RuntimeError as error:  # ~name of a user who does not exist
            raise ValueError(str(error)) from error
    raise ValueError("not a path")


def _one_or_many(value: object) -> object:
    if isinstance(value, str | Path):
        return (value,)
    return tuple(value) if isinstance(value, list) else value


# Strict, because `batch: true` is not a batch of 1 and `overwrite: 1` is not a yes.
Flag = Annotated[bool, Field(strict=True, description="true or false")]
Whole = Annotated[int, Field(strict=True)]
Number = Annotated[float, Field(strict=True, allow_inf_nan=False)]
FilePath = Annotated[Path, BeforeValidator(_path)]
Batch = Annotated[Whole, Field(ge=1, le=1024)] | Literal["auto"]
Name = Annotated[str, Field(pattern=r"^[a-z0-9_]+$")]
Names = Annotated[tuple[Name, ...], BeforeValidator(_one_or_many), Field(min_length=1)]


class Section(BaseModel):
    """Frozen; unknown keys are refused; an empty section in the file is all defaults."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    @model_validator(mode="before")
    @classmethod
    def _empty_means_defaults(cls, data: object) -> object:
        return {} if data is None else data


class InputConfig(Section):
    paths: Annotated[tuple[FilePath, ...], BeforeValidator(_one_or_many)] = Field(
        default=(), description="a list of files and folders"
    )
    watch: FilePath | None = Field(default=None, description="a folder to watch, or null")
    settle_s: Number = Field(default=2.0, ge=0, le=3600, description="seconds, 0 to 3600")
    patience_s: Number = Field(default=60.0, ge=0, le=86400, description="seconds, 0 to 86400")
    rescan_s: Number = Field(default=60.0, ge=1, le=86400, description="seconds, 1 to 86400")
    force_polling: Flag = False
    ignore: Annotated[tuple[str, ...], BeforeValidator(_one_or_many)] = Field(
        default=("*.part", "*.crdownload", "*.tmp", "*~"),
        description="a list of patterns such as *.part",
    )
    after: Literal["keep", "move", "delete"] = Field(
        default="keep", description='"keep", "move" or "delete"'
    )


class OutputConfig(Section):
    folder: FilePath = Field(default=Path("cleaned"), description="a folder")
    overwrite: Flag = False


class MemoryConfig(Section):
    budget: Annotated[Whole, Field(gt=0), BeforeValidator(_bytes)] | None = Field(
        default=None, description='a number of bytes such as 4000000000, "4GB" or "4GiB", or null'
    )


class QueuesConfig(Section):
    capacity: Whole = Field(
        default=4, ge=1, le=256, description="frames per queue, a whole number 1 to 256"
    )


class LimitsConfig(Section):
    max_pixels: Whole = Field(
        default=8192 * 4320, ge=1, description="pixels per frame, a whole number of at least 1"
    )
    max_seconds: Number = Field(default=24 * 3600.0, gt=0, description="seconds, more than 0")
    formats: Names = Field(
        default=(
            *("mov", "mp4", "m4a", "3gp", "3g2", "mj2"),
            *("matroska", "webm", "avi", "mpegts", "mpeg"),
        ),
        description="a list of container formats by their libav names",
    )
    codecs: Names = Field(
        default=(
            *("h264", "hevc", "av1", "vp8", "vp9", "vvc"),
            *("mpeg1video", "mpeg2video", "mpeg4", "msmpeg4v2", "msmpeg4v3", "h263", "flv1"),
            *("ffv1", "ffvhuff", "huffyuv", "utvideo", "prores", "dnxhd", "mjpeg", "rawvideo"),
            *("dvvideo", "vc1", "wmv1", "wmv2", "wmv3", "theora"),
        ),
        description="a list of video codecs by their libav names",
    )


class DecodeConfig(Section):
    hardware: Flag = False
    limits: LimitsConfig = LimitsConfig()


class RegionConfig(Section):
    """A place that is known to hold a mark: a box or a mask picture, for all of the clip or a time.

    Boxes are x0, y0, x1, y1 in pixels of the displayed picture, half-open; a mask has its size.
    Times are seconds since the first frame, `to_s` excluded.
    """

    box: tuple[Number, Number, Number, Number] | None = None
    mask: FilePath | None = None
    from_s: Number = Field(default=0.0, ge=0)
    to_s: Annotated[Number, Field(gt=0)] | None = None

    @model_validator(mode="after")
    def _one_place(self) -> Self:
        if (self.box is None) == (self.mask is None):
            raise ValueError("a region is a box or a mask")
        if self.box is not None and not (self.box[0] < self.box[2] and self.box[1] < self.box[3]):
            raise ValueError("a box is [x0, y0, x1, y1] with x0 < x1 and y0 < y1")
        if self.to_s is not None and self.to_s <= self.from_s:
            raise ValueError("to_s comes after from_s")
        return self


class DetectConfig(Section):
    weights: Literal["builtin", "none"] | FilePath = Field(
        default="builtin",
        description='"builtin", "none", the path of a weights file or the name of a pulled model',
    )
    regions: tuple[RegionConfig, ...] = Field(
        default=(),
        max_length=1000,
        description="a list of {box: [x0, y0, x1, y1] or mask: PNG, from_s, to_s}",
    )
    sha256: str | None = Field(
        default=None, pattern=r"^[0-9a-fA-F]{64}$", description="64 hexadecimal digits, or null"
    )
    allow_pickle: Flag = False
    confidence: Annotated[Number, Field(ge=0, le=1)] | None = Field(
        default=None, description="a number from 0 to 1, or null"
    )
    image_size: Annotated[Whole, Field(ge=64, le=4096, multiple_of=32)] | None = Field(
        default=None, description="pixels, a multiple of 32 from 64 to 4096, or null"
    )
    stride: Whole = Field(
        default=16, ge=1, le=120, description="a whole number of frames, 1 to 120"
    )
    scout: Literal["auto", "off"] = Field(default="auto", description='"auto" or "off"')
    precision: Literal["auto", "fp32", "int8"] = Field(
        default="auto", description='"auto", "fp32" or "int8"'
    )
    batch: Batch = Field(default="auto", description='"auto" or a whole number from 1 to 1024')
    half: Flag = False
    compile: Flag = False
    tensorrt: Flag = False


INPAINTERS = ("see-through", "membrane", "telea", "ns", "lama", "none")
"""Methods that need no other package."""

INPAINTER_GROUP = "sorawm_pipeline.inpainters"
"""Entry points by which other packages bring inpainters."""


def _inpainter(name: str) -> str:
    if name in INPAINTERS or name in entry_points(group=INPAINTER_GROUP).names:
        return name
    raise ValueError("no such method")


class InpaintConfig(Section):
    method: Annotated[str, AfterValidator(_inpainter)] = Field(
        default="see-through",
        description='"see-through", "membrane", "telea", "ns", "lama", "none" or the name of an '
        "installed plug-in",
    )
    weights: FilePath | None = Field(
        default=None, description="the path of a weights file or the name of a pulled model"
    )
    sha256: str | None = Field(
        default=None, pattern=r"^[0-9a-fA-F]{64}$", description="64 hexadecimal digits, or null"
    )
    batch: Batch = Field(default="auto", description='"auto" or a whole number from 1 to 1024')
    half: Flag = False
    compile: Flag = False
    margin: Whole = Field(
        default=8, ge=0, le=256, description="pixels, a whole number from 0 to 256"
    )
    stride: Whole = Field(default=3, ge=1, le=8, description="a whole number of frames, 1 to 8")

    @model_validator(mode="after")
    def _weights_where_needed(self) -> Self:
        if self.method == "lama" and self.weights is None:
            raise ValueError("the method lama needs weights: a path or the name of a pulled model")
        return self


class TemporalConfig(Section):
    window: Whole = Field(
        default=72, ge=0, le=240, description="frames ahead, a whole number from 0 to 240"
    )


Preset = Literal[
    "ultrafast",
    "superfast",
    "veryfast",
    "faster",
    "fast",
    "medium",
    "slow",
    "slower",
    "veryslow",
]


class EncodeConfig(Section):
    codec: Literal["source", "h264", "hevc", "av1", "vp9", "ffv1"] = Field(
        default="source", description='"source", "h264", "hevc", "av1", "vp9" or "ffv1"'
    )
    hardware: Flag = False
    preset: Preset = Field(
        default="veryfast", description="a speed from ultrafast to veryslow as in x264"
    )
    quality: str = Field(
        default="auto",
        pattern=r"^(auto|crf:(\d|[1-5]\d|6[0-3])(\.\d+)?|bitrate:[1-9]\d{0,11}[kM]?)$",
        description='"auto", "crf:N" with N from 0 to 63, or "bitrate:N" in bits per second, '
        "N such as 5000000, 5000k or 5M",
    )

    splice: Literal["auto", "off"] = Field(default="auto", description='"auto" or "off"')

    @property
    def crf(self) -> float | None:
        """N of `crf:N`, 0 (best) to 63; None if quality is given otherwise."""
        kind, _, number = self.quality.partition(":")
        return float(number) if kind == "crf" else None

    @property
    def bitrate(self) -> int | None:
        """N of `bitrate:N` in bits per second; None if quality is given otherwise."""
        kind, _, number = self.quality.partition(":")
        return parse_bytes(number) if kind == "bitrate" else None


class PiecesConfig(Section):
    """Long clips are done in pieces that outlive a crash and may be done side by side."""

    from_s: Number = Field(default=600.0, ge=0, description="seconds, at least 0")
    length_s: Number = Field(default=60.0, ge=0, description="seconds, at least 0")
    workers: Whole = Field(default=1, ge=1, le=64, description="a whole number from 1 to 64")


class ClusterConfig(Section):
    """Ray machines that do the pieces of clips; a slot does one piece at a time."""

    address: str | None = Field(
        default=None, min_length=1, description='"local", the address of a Ray cluster, or null'
    )
    gpus: Number = Field(default=1.0, gt=0, le=16, description="GPUs of a slot, such as 0.5")
    cpus: Number = Field(default=1.0, ge=0, le=256, description="cores of a slot, such as 2")
    slots: Annotated[Whole, Field(ge=1)] | None = Field(
        default=None, description="a whole number of at least 1, or null"
    )
    store: str | None = Field(
        default=None, min_length=1, description="a URL such as s3://bucket/pieces, or null"
    )


class ProvenanceConfig(Section):
    """Certificate chain and private key (PEM) for signing the result; both or neither."""

    certificate: FilePath | None = Field(
        default=None, description="the path of a PEM file, or null"
    )
    key: FilePath | None = Field(default=None, description="the path of a PEM file, or null")

    @model_validator(mode="after")
    def _both_or_neither(self) -> Self:
        if (self.certificate is None) != (self.key is None):
            raise ValueError("certificate and key go together: give both or neither")
        return self


class ServiceConfig(Section):
    host: str = Field(default="127.0.0.1", min_length=1, description="a host name or address")
    port: Whole = Field(default=5344, ge=0, le=65535, description="a port number from 0 to 65535")
    token_file: FilePath | None = Field(default=None, description="the path of a file, or null")
    http: Flag = False
    roots: Annotated[tuple[FilePath, ...], BeforeValidator(_one_or_many)] = Field(
        default=(), description="the path of a folder, or a list of such"
    )
    uploads: FilePath | None = Field(default=None, description="the path of a folder, or null")
    upload_max: Annotated[Whole, Field(gt=0), BeforeValidator(_bytes)] = Field(
        default=10_000_000_000, description='a number of bytes such as 10000000000 or "10GB"'
    )
    uploads_at_once: Whole = Field(default=4, ge=1, le=64, description="a whole number, 1 to 64")
    uploads_keep_s: Number = Field(default=604_800.0, ge=0, description="seconds")
    rate: Number = Field(default=50.0, gt=0, le=100_000, description="requests per second")
    ledger: FilePath | None = Field(default=None, description="the path of a file, or null")
    workers: Annotated[Whole, Field(ge=1, le=64)] | Literal["auto"] = Field(
        default="auto", description='"auto" or a whole number from 1 to 64'
    )
    retries: Whole = Field(default=2, ge=0, le=100, description="a whole number from 0 to 100")
    backoff_s: Number = Field(default=30.0, ge=0, le=86400, description="seconds, 0 to 86400")
    deadline_s: Number = Field(default=300.0, ge=1, le=86400, description="seconds, 1 to 86400")
    memory: Annotated[Whole, Field(gt=0), BeforeValidator(_bytes)] | None = Field(
        default=None, description='a number of bytes such as 4000000000, "4GB" or "4GiB", or null'
    )
    recycle_after: Whole = Field(
        default=100, ge=1, le=1_000_000, description="a whole number of at least 1"
    )
    min_free: Annotated[Whole, Field(ge=0), BeforeValidator(_bytes)] = Field(
        default=1_000_000_000, description='a number of bytes such as 1000000000 or "1GB"'
    )


class LogConfig(Section):
    level: Literal["debug", "info", "warning", "error"] = Field(
        default="warning", description='"debug", "info", "warning" or "error"'
    )
    format: Literal["console", "json"] = Field(default="console", description='"console" or "json"')
