"""pipeline.yaml as typed, frozen values.

A value comes from, in this order: `--set`, the file, the profile, the default. Every error names
the file, line, column and dotted key, what was expected and what was found; all errors of a file
are listed together, one per line. Paths are relative to the current folder.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ModelWrapValidatorHandler,
    ValidationError,
    ValidationInfo,
    model_validator,
)

from sorawm_pipeline import config_keys, marked_yaml
from sorawm_pipeline.errors import ConfigError

ProfileName = Literal["performance", "balanced", "quality", "compat"]

PROFILES: Mapping[str, Mapping[str, Any]] = {
    "performance": {"encode.preset": "superfast", "temporal.window": 2, "queues.capacity": 8},
    "balanced": {},  # the defaults
    "quality": {"encode.preset": "slow", "temporal.window": 10},
    "compat": {
        "device": "cpu",
        "detect.batch": 1,
        "inpaint.batch": 1,
        "queues.capacity": 2,
        "encode.codec": "h264",
    },
}
"""What each profile sets; a key given in the file or by `--set` wins over it."""

NOT_AVAILABLE_YET: frozenset[str] = frozenset(
    {
        "input.watch",
        "input.settle_s",
        "decode.hardware",
        "detect.stride",
        "detect.compile",
        "inpaint.weights",
        "inpaint.half",
        "inpaint.compile",
        "encode.hardware",
        "service.host",
        "service.port",
        "service.token_file",
        "service.workers",
        "service.retries",
    }
)
"""Keys of the contract that nothing obeys yet: any value but the default is refused."""

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
        return Path(value).expanduser()
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


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    @model_validator(mode="before")
    @classmethod
    def _empty_means_defaults(cls, data: object) -> object:
        return {} if data is None else data


class InputConfig(_Section):
    paths: Annotated[tuple[FilePath, ...], BeforeValidator(_one_or_many)] = Field(
        default=(), description="a list of files and folders"
    )
    watch: FilePath | None = Field(default=None, description="a folder to watch, or null")
    settle_s: Number = Field(default=2.0, ge=0, le=3600, description="seconds, 0 to 3600")


class OutputConfig(_Section):
    folder: FilePath = Field(default=Path("cleaned"), description="a folder")
    overwrite: Flag = False


class MemoryConfig(_Section):
    budget: Annotated[Whole, Field(gt=0), BeforeValidator(_bytes)] | None = Field(
        default=None, description='a number of bytes such as 4000000000, "4GB" or "4GiB", or null'
    )


class QueuesConfig(_Section):
    capacity: Whole = Field(
        default=4, ge=1, le=256, description="frames per queue, a whole number 1 to 256"
    )


class LimitsConfig(_Section):
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
            *("libdav1d", "msmpeg4", "flv"),  # decoders that are not named like their codec
        ),
        description="a list of video codecs or decoders by their libav names",
    )


class DecodeConfig(_Section):
    hardware: Flag = False
    limits: LimitsConfig = LimitsConfig()


class DetectConfig(_Section):
    weights: Literal["builtin"] | FilePath = Field(
        default="builtin", description='"builtin" or the path of a weights file'
    )
    confidence: Annotated[Number, Field(ge=0, le=1)] | None = Field(
        default=None, description="a number from 0 to 1, or null"
    )
    image_size: Annotated[Whole, Field(ge=64, le=4096, multiple_of=32)] | None = Field(
        default=None, description="pixels, a multiple of 32 from 64 to 4096, or null"
    )
    stride: Whole = Field(
        default=1, ge=1, le=1000, description="a whole number of frames, 1 to 1000"
    )
    batch: Batch = Field(default="auto", description='"auto" or a whole number from 1 to 1024')
    half: Flag = False
    compile: Flag = False


class InpaintConfig(_Section):
    method: Literal["telea", "ns", "none"] = Field(
        default="telea", description='"telea", "ns" or "none"'
    )
    weights: FilePath | None = Field(
        default=None, description="the path of a weights file, or null"
    )
    batch: Batch = Field(default="auto", description='"auto" or a whole number from 1 to 1024')
    half: Flag = False
    compile: Flag = False
    margin: Whole = Field(
        default=8, ge=0, le=256, description="pixels, a whole number from 0 to 256"
    )


class TemporalConfig(_Section):
    window: Whole = Field(
        default=5, ge=0, le=120, description="frames on each side, a whole number from 0 to 120"
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


class EncodeConfig(_Section):
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


class ProvenanceConfig(_Section):
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


class ServiceConfig(_Section):
    host: str = Field(default="127.0.0.1", min_length=1, description="a host name or address")
    port: Whole = Field(default=5344, ge=0, le=65535, description="a port number from 0 to 65535")
    token_file: FilePath | None = Field(default=None, description="the path of a file, or null")
    workers: Whole = Field(default=1, ge=1, le=1024, description="a whole number from 1 to 1024")
    retries: Whole = Field(default=2, ge=0, le=100, description="a whole number from 0 to 100")


class LogConfig(_Section):
    level: Literal["debug", "info", "warning", "error"] = Field(
        default="info", description='"debug", "info", "warning" or "error"'
    )
    format: Literal["console", "json"] = Field(default="console", description='"console" or "json"')


class PipelineConfig(_Section):
    """The whole configuration; `PipelineConfig()` is all defaults.

    Raises:
        ConfigError: from the constructor too, with one line per wrong key.
    """

    profile: ProfileName = Field(
        default="balanced", description='"performance", "balanced", "quality" or "compat"'
    )
    device: str = Field(
        default="auto",
        pattern=r"^(auto|cpu|cuda(:\d{1,3})?)$",
        description='"auto", "cpu" or "cuda[:n]"',
    )
    input: InputConfig = InputConfig()
    output: OutputConfig = OutputConfig()
    memory: MemoryConfig = MemoryConfig()
    queues: QueuesConfig = QueuesConfig()
    decode: DecodeConfig = DecodeConfig()
    detect: DetectConfig = DetectConfig()
    inpaint: InpaintConfig = InpaintConfig()
    temporal: TemporalConfig = TemporalConfig()
    encode: EncodeConfig = EncodeConfig()
    provenance: ProvenanceConfig = ProvenanceConfig()
    service: ServiceConfig = ServiceConfig()
    log: LogConfig = LogConfig()

    @classmethod
    def from_yaml(cls, path: Path | str, overrides: Sequence[str] = ()) -> Self:
        """The configuration in file `path`, with `dotted.key=value` strings laid over it.

        Raises:
            ConfigError: the file cannot be read, or it or an override is wrong.
        """
        return cls.load_yaml(marked_yaml.read_file(Path(path)), str(path), overrides)

    @classmethod
    def load_yaml(
        cls, text: str, name: str = "pipeline.yaml", overrides: Sequence[str] = ()
    ) -> Self:
        """Like `from_yaml`, for YAML at hand; `name` is what errors call it.

        Raises:
            ConfigError: the text or an override is wrong.
        """
        marked = marked_yaml.read(text, name)
        if marked.data is None:
            marked.data = {}
        if not isinstance(marked.data, dict):
            spot = marked.spots[()].value
            found = config_keys.found_text(marked.data)
            raise ConfigError(f"{spot}: expected a mapping of keys, found {found}")
        for override in overrides:
            marked_yaml.override(marked, override)
        return cls.model_validate(marked.data, context=marked.spots)

    @model_validator(mode="wrap")
    @classmethod
    def _build(
        cls, data: object, handler: ModelWrapValidatorHandler[Self], info: ValidationInfo
    ) -> Self:
        """Lay the data over its profile, and turn pydantic's errors into one ConfigError."""
        spots: config_keys.Spots = info.context or {}
        try:
            config = handler(_over_profile(data) if isinstance(data, dict) else data)
        except ValidationError as error:
            details = error.errors(include_url=False)
            lines = [config_keys.error_line(cls, detail, spots) for detail in details]
            raise ConfigError("\n".join(dict.fromkeys(lines))) from None
        if lines := config_keys.unavailable_lines(config, NOT_AVAILABLE_YET, spots):
            raise ConfigError("\n".join(lines))
        return config


def default_yaml() -> str:
    """The commented default configuration that `sorawm-pipeline init` writes."""
    return resources.files("sorawm_pipeline").joinpath("default.yaml").read_text("utf-8")


def _over_profile(data: dict[str, Any]) -> dict[str, Any]:
    """`data` and, below its own keys, those of the profile it names."""
    result = {key: _plain(value) for key, value in data.items()}
    profile = result.get("profile")
    for dotted, value in PROFILES.get(profile, {}).items() if isinstance(profile, str) else ():
        *sections, key = dotted.split(".")
        target: Any = result
        for name in sections:
            if target.get(name) is None:
                target[name] = {}
            target = target[name]
        if isinstance(target, dict):  # otherwise validation will say what is wrong with it
            target.setdefault(key, value)
    return result


def _plain(value: object) -> object:
    if isinstance(value, _Section):
        return value.model_dump(exclude_unset=True)
    return dict(value) if isinstance(value, dict) else value
