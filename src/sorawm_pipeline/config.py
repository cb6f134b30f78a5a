"""pipeline.yaml as typed, frozen values.

A value comes from, in this order: `--set`, the file, the profile, the default. Every error names
the file, line, column and dotted key, what was expected and what was found; all errors of a file
are listed together, one per line. Paths are relative to the current folder.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import (
    Field,
    ModelWrapValidatorHandler,
    ValidationError,
    ValidationInfo,
    model_validator,
)

from sorawm_pipeline import config_keys, marked_yaml
from sorawm_pipeline.config_sections import (
    ClusterConfig,
    DecodeConfig,
    DetectConfig,
    EncodeConfig,
    Flag,
    InpaintConfig,
    InputConfig,
    LimitsConfig,
    LogConfig,
    MemoryConfig,
    OutputConfig,
    PiecesConfig,
    ProvenanceConfig,
    QueuesConfig,
    RegionConfig,
    Section,
    ServiceConfig,
    TemporalConfig,
)
from sorawm_pipeline.errors import ConfigError

__all__ = [
    "PROFILES",
    "ClusterConfig",
    "DecodeConfig",
    "DetectConfig",
    "EncodeConfig",
    "InpaintConfig",
    "InputConfig",
    "LimitsConfig",
    "LogConfig",
    "MemoryConfig",
    "OutputConfig",
    "PiecesConfig",
    "PipelineConfig",
    "ProfileName",
    "ProvenanceConfig",
    "QueuesConfig",
    "RegionConfig",
    "ServiceConfig",
    "TemporalConfig",
    "default_yaml",
]

ProfileName = Literal["performance", "balanced", "quality", "compat"]

PROFILES: Mapping[str, Mapping[str, Any]] = {
    "performance": {"encode.preset": "superfast", "inpaint.stride": 4, "queues.capacity": 8},
    "balanced": {},  # the defaults
    "quality": {
        "detect.scout": "off",
        "encode.preset": "slow",
        "inpaint.stride": 1,
        "temporal.window": 144,
    },
    "compat": {
        "device": "cpu",
        "detect.batch": 1,
        "inpaint.batch": 1,
        "queues.capacity": 2,
        "encode.codec": "h264",
    },
}
"""What each profile sets; a key given in the file or by `--set` wins over it."""


class PipelineConfig(Section):
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
    pieces: PiecesConfig = PiecesConfig()
    cluster: ClusterConfig = ClusterConfig()
    verify: Flag = False
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
            return handler(_over_profile(data) if isinstance(data, dict) else data)
        except ValidationError as error:
            details = error.errors(include_url=False)
            lines = [config_keys.error_line(cls, detail, spots) for detail in details]
            raise ConfigError("\n".join(dict.fromkeys(lines))) from None


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
    if isinstance(value, Section):
        return value.model_dump(exclude_unset=True)
    return dict(value) if isinstance(value, dict) else value
