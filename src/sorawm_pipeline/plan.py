"""Which clip goes where: from the words of a call to pairs of input and output."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from sorawm_pipeline.config import PipelineConfig
from sorawm_pipeline.errors import ConfigError, InputError, OutputError, PipelineError
from sorawm_pipeline.media.clip import Limits, find_videos, is_video


@dataclass(frozen=True, slots=True)
class Planned:
    """One clip of a call; `error` says why it cannot even be tried."""

    source: Path
    output: Path | None
    error: PipelineError | None = None


def plan(config: PipelineConfig, inputs: Sequence[Path], output: Path | None) -> list[Planned]:
    """Every clip to clean, in the order given; folders are searched recursively, by content.

    A clip found in a folder keeps its place below it. `output` is a folder, or the result's own
    name when there is exactly one input and it is a file.

    Raises:
        ConfigError: there is no input, or one file cannot be the output of several.
    """
    sources = list(inputs or config.input.paths)
    if not sources:
        raise ConfigError("nothing to do: name an INPUT, or set input.paths in the YAML")
    if output is not None and _names_a_file(output):
        if len(sources) != 1 or sources[0].is_dir():
            raise ConfigError(
                f"--output {output} names a file, but there is not exactly one input file; "
                "name a folder"
            )
        return [Planned(sources[0], output)]
    folder = output or config.output.folder
    limits = config.decode.limits
    return _without_clashes(
        [
            clip
            for source in sources
            for clip in _below(
                source,
                folder,
                Limits(limits.max_pixels, limits.max_seconds, limits.formats, limits.codecs),
            )
        ]
    )


def _names_a_file(output: Path) -> bool:
    return output.suffix != "" and not output.is_dir()


def _below(source: Path, folder: Path, limits: Limits) -> list[Planned]:
    if not source.is_dir():
        return [Planned(source, folder / source.name)]
    videos = [
        path
        for path in find_videos(source, lambda path: is_video(path, limits))
        if not path.resolve().is_relative_to(folder.resolve())
    ]
    if not videos:
        nothing = InputError(f"the folder {source} holds no video that can be opened")
        return [Planned(source, None, nothing)]
    return [Planned(path, folder / path.relative_to(source)) for path in videos]


def _without_clashes(clips: list[Planned]) -> list[Planned]:
    """Clips whose result would replace that of an earlier clip of the same call are refused."""
    taken: dict[Path, Path] = {}
    checked = []
    for clip in clips:
        key = clip.output.absolute() if clip.output else clip.source
        first = taken.setdefault(key, clip.source)
        if first is not clip.source:
            error = OutputError(
                f"{clip.output} is already the result of {first}; give one of them another name",
                kind="exists",
            )
            clip = Planned(clip.source, None, error)
        checked.append(clip)
    return checked
