"""Which clip goes where: from the words of a call to pairs of input and output."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from sorawm_pipeline.config import PipelineConfig
from sorawm_pipeline.errors import ConfigError, InputError, OutputError, PipelineError
from sorawm_pipeline.media.clip import Limits, find_videos, is_video
from sorawm_pipeline.media.encoders import MUXER_OF_SUFFIX


@dataclass(frozen=True, slots=True)
class Planned:
    """One clip of a call; `error` says why it cannot even be tried."""

    source: Path
    output: Path | None
    error: PipelineError | None = None


def plan(config: PipelineConfig, inputs: Sequence[Path], output: Path | None) -> list[Planned]:
    """Every clip to clean, in the order given; folders are searched recursively, by content.

    A clip found in a folder keeps its place below it. `output` is a folder, or the result's own
    name when it has a video's extension; then there must be exactly one input, and it a file.

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
        clips = [Planned(sources[0], output)]
    else:
        folder = output or config.output.folder
        limits = Limits.of(config.decode.limits)
        clips = [clip for source in sources for clip in _below(source, folder, limits)]
    return _without_clashes(clips)


def _names_a_file(output: Path) -> bool:
    return output.suffix.lower() in MUXER_OF_SUFFIX and not output.is_dir()


def _below(source: Path, folder: Path, limits: Limits) -> list[Planned]:
    if not source.is_dir():
        return [Planned(source, folder / source.name)]
    videos = find_videos(source, lambda path: is_video(path, limits))
    if source.resolve() in folder.resolve().parents:  # results of an earlier call are no inputs
        videos = [path for path in videos if folder.resolve() not in path.resolve().parents]
    if not videos:
        nothing = InputError(f"the folder {source} holds no video that can be opened")
        return [Planned(source, None, nothing)]
    return [Planned(path, folder / path.relative_to(source)) for path in videos]


def _without_clashes(clips: list[Planned]) -> list[Planned]:
    """Refuse clips whose result would replace an input, or an earlier result, of the same call."""
    inputs = {clip.source.resolve() for clip in clips}
    taken: dict[Path, Path] = {}
    checked = []
    for clip in clips:
        if clip.output is None:
            checked.append(clip)
            continue
        place = clip.output.resolve()
        error = None
        if place == clip.source.resolve():
            error = f"the output {clip.output} is the input itself; choose another folder or name"
        elif place in inputs:
            error = f"the output {clip.output} is another input of this call"
        elif place in taken:
            error = f"{clip.output} is already the result of {taken[place]}; rename one of them"
        else:
            taken[place] = clip.source
        checked.append(
            clip if error is None else Planned(clip.source, None, OutputError(error, kind="exists"))
        )
    return checked
