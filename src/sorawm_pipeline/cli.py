"""Words to calls, nothing else. Heavy imports wait until a command needs them."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import App, CycloptsError, Parameter

from sorawm_pipeline import __version__
from sorawm_pipeline.errors import ConfigError, InputError, PipelineError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sorawm_pipeline.config import PipelineConfig
    from sorawm_pipeline.console import Reporter
    from sorawm_pipeline.plan import Planned
    from sorawm_pipeline.report import ClipReport

DONE, FAILED, WRONG_USAGE, INTERRUPTED = 0, 1, 2, 130

app = App(
    name="sorawm-pipeline",
    help="Find visible overlay marks in videos you may edit, and restore the picture under them.",
    version=__version__,
)
models_app = App(
    name="models", help="The weights that ship with the program, and those of other authors."
)
app.command(models_app)
jobs_app = App(name="jobs", help="What became of the files in the watched folder.")
app.command(jobs_app)

Set = Annotated[
    list[str] | None,
    Parameter(name="--set", help="KEY=VALUE over the YAML, such as detect.confidence=0.4."),
]
Profile = Literal["performance", "balanced", "quality", "compat"]
State = Literal[
    "waiting",
    "paused",
    "running",
    "staged",
    "done",
    "quarantined",
    "skipped",
    "duplicate",
    "cancelled",
    "gone",
]
Flag = Annotated[bool, Parameter(negative=())]


@app.command
def run(
    pipeline: Path,
    *inputs: Path,
    output: Path | None = None,
    watch: Path | None = None,
    report: Path | None = None,
    profile: Profile | None = None,
    set_: Set = None,
    cluster: str | None = None,
    overwrite: Flag = False,
    progress: Literal["auto", "plain", "none"] = "auto",
    log_format: Literal["console", "json"] | None = None,
) -> int:
    """Clean clips.

    Args:
        pipeline: The pipeline.yaml.
        inputs: Files and folders; they replace input.paths.
        output: A folder, or the result's name when there is one input file.
        watch: Stay, and clean whatever arrives in this folder.
        report: Write the JSON report here.
        profile: A set of keys; see the comments in pipeline.yaml.
        set_: KEY=VALUE over the YAML.
        cluster: Do the work on a Ray cluster: its address, or local.
        overwrite: Replace existing results.
        progress: Bars on a terminal, a line now and then, or nothing.
        log_format: Log lines for people or as JSON.
    """
    extra = [f"profile={profile}"] if profile else []
    if cluster is not None:
        if not cluster.strip():
            raise ConfigError("--cluster takes the address of a Ray cluster, or local")
        extra.append(f"cluster.address={cluster}")
    overrides = [*(set_ or []), *extra]
    config = _config(pipeline, overrides, log_format)
    if watch is not None or (config.input.watch is not None and not inputs):
        if inputs or report is not None:
            raise ConfigError("--watch takes no INPUT and no --report; see `jobs list` for results")
        return _watch(pipeline, overrides, log_format, watch, output, overwrite=overwrite)

    from sorawm_pipeline.console import Reporter
    from sorawm_pipeline.hardware.memory import map_large
    from sorawm_pipeline.job import credentials
    from sorawm_pipeline.media.provenance import identity
    from sorawm_pipeline.native_log import native_output_logged
    from sorawm_pipeline.plan import plan
    from sorawm_pipeline.report import Report, write_json
    from sorawm_pipeline.state import state_folder

    identity(credentials(config), state_folder())
    map_large()
    with native_output_logged(), Reporter(progress) as reporter:
        clips = plan(config, inputs, output)
        _check_report(report, [clip.source for clip in clips])
        reports = asyncio.run(_cleaned(config, clips, reporter, overwrite=overwrite))
    if report is not None:
        write_json(report, Report(clips=tuple(reports)))
    statuses = {clip.status for clip in reports}
    if "interrupted" in statuses:
        return INTERRUPTED
    return FAILED if "failed" in statuses else DONE


@app.command
def detect(
    pipeline: Path,
    input: Path,  # noqa: A002 - the name users see
    *,
    report: Path | None = None,
    preview: Path | None = None,
    overwrite: Flag = False,
    set_: Set = None,
    log_format: Literal["console", "json"] | None = None,
) -> int:
    """Find marks and write down their boxes, or draw them for a person to look at.

    Args:
        pipeline: The pipeline.yaml.
        input: One clip.
        report: Write the JSON here; without it and --preview it goes to stdout.
        preview: Draw what was found: a .png of telling frames, or the clip as .mp4, .mkv or .mov.
        overwrite: Replace an existing preview.
        set_: KEY=VALUE over the YAML.
        log_format: Log lines for people or as JSON.
    """
    config = _config(pipeline, set_ or [], log_format)
    _check_report(report, [input, *([preview] if preview else [])])

    from sorawm_pipeline import preview as drawing
    from sorawm_pipeline.native_log import native_output_logged
    from sorawm_pipeline.pipeline import Pipeline
    from sorawm_pipeline.report import to_json, write_json

    with native_output_logged():
        target = None
        if preview is not None:
            target = drawing.prepare(config, input, preview, overwrite=overwrite)
        found = asyncio.run(Pipeline(config).detect(input))
        if report is not None:
            write_json(report, found)
        if target is not None:
            drawing.write(config, found, input, target)
    if report is None and preview is None:
        sys.stdout.write(to_json(found))
    else:
        marked = sum(bool(frame.marks) for frame in found.frames)
        places = ", ".join(str(path) for path in (report, preview) if path is not None)
        print(f"{marked} of {len(found.frames)} frames marked -> {places}")
    return DONE


@app.command
def demo(*, output: Path = Path("demo-output"), overwrite: Flag = False) -> int:
    """Make a short clip with a jumping mark, clean it, and show before and after.

    Args:
        output: A folder for the clip, the result, the picture and the report.
        overwrite: Replace what is in it from an earlier demo.
    """
    from sorawm_pipeline import demo as show
    from sorawm_pipeline.logs import configure

    configure("warning")
    return show.run(output, overwrite=overwrite)


@app.command
def train(
    *,
    mark: Path,
    output: Path,
    text: str | None = None,
    backgrounds: Annotated[list[Path] | None, Parameter(consume_multiple=True)] = None,
    minutes: float | None = None,
    seed: int = 0,
    device: str = "auto",
    overwrite: Flag = False,
) -> int:
    """Build a detector for a mark of your own from one picture of it.

    Args:
        mark: A PNG with transparency, or a crop of a frame.
        output: The weights to write: OUTPUT.onnx, and OUTPUT.json that describes it.
        text: A second line under the mark, such as @name.
        backgrounds: Pictures and clips like yours, without the mark, and folders of them.
        minutes: How long to train; 8 unless said.
        seed: Of every random choice.
        device: auto, cpu or cuda[:n].
        overwrite: Replace existing weights.
    """
    from sorawm_pipeline.learn.console import train_and_tell
    from sorawm_pipeline.warm import resolve_device

    place = resolve_device(device)
    return train_and_tell(
        mark, output, text, backgrounds or [], minutes, seed, place, overwrite=overwrite
    )


@app.command
def init(
    pipeline: Annotated[Path, Parameter(help="The file to write.")] = Path("pipeline.yaml"),
    *,
    overwrite: Flag = False,
) -> int:
    """Write the commented default pipeline.yaml."""
    from sorawm_pipeline.config import default_yaml

    try:
        with pipeline.open("w" if overwrite else "x", encoding="utf-8") as file:
            file.write(default_yaml())
    except FileExistsError:
        raise ConfigError(f"{pipeline} exists already; use --overwrite to replace it") from None
    except OSError as error:
        raise ConfigError(f"{pipeline} cannot be written: {error.strerror}") from error
    print(pipeline)
    return DONE


@app.command
def doctor(*, json: Flag = False) -> int:
    """Tell what this machine offers: GPUs, codecs that really open, models, limits.

    Args:
        json: As one JSON object.
    """
    from sorawm_pipeline import doctor as examination

    findings = examination.collect()
    print(examination.to_json(findings) if json else examination.to_text(findings))
    return DONE


@app.command
def provenance(file: Path, *, json: Flag = False) -> int:
    """Tell where a picture came from and what was done to it.

    Status 1 if it, or a file that it was made from, was altered after it was signed.

    Args:
        file: A video.
        json: As one JSON object.
    """
    from sorawm_pipeline.media import chain_text
    from sorawm_pipeline.media.chain import read_chain
    from sorawm_pipeline.native_log import native_output_logged
    from sorawm_pipeline.report import readable

    try:
        with native_output_logged():
            chain = read_chain(file)
    except OSError as error:
        raise InputError(f"{file} cannot be read: {error.strerror}") from error
    told = chain_text.to_json if json else chain_text.to_text
    print(told(str(readable(file)), chain))
    return FAILED if chain.altered else DONE


@app.command
def serve(
    pipeline: Path,
    *,
    host: str | None = None,
    port: int | None = None,
    output: Path | None = None,
    set_: Set = None,
    log_format: Literal["console", "json"] | None = None,
) -> int:
    """Serve the HTTP API and the dashboard; watch input.watch too, if it is set.

    Args:
        pipeline: The pipeline.yaml.
        host: Address to listen at, over service.host.
        port: Port to listen at, over service.port.
        output: A folder for the results.
        set_: KEY=VALUE over the YAML.
        log_format: Log lines for people or as JSON.
    """
    given = {"service.host": host, "service.port": port}
    overrides = [
        *(set_ or []),
        *(f"{key}={value}" for key, value in given.items() if value is not None),
    ]
    return _watch(pipeline, overrides, log_format, None, output, overwrite=False, http=True)


@jobs_app.command(name="list")
def list_jobs(
    pipeline: Path = Path("pipeline.yaml"),
    *,
    state: Annotated[list[State] | None, Parameter(consume_multiple=True)] = None,
    limit: int = 100,
    json: Flag = False,
) -> int:
    """List the jobs of the watch folder, the newest first.

    Args:
        pipeline: The daemon's pipeline.yaml.
        state: Only jobs in these states.
        limit: At most so many.
        json: As a JSON array.
    """
    from sorawm_pipeline.service import job_commands
    from sorawm_pipeline.service.jobs import JobState

    config = _config(pipeline, [], None)
    states = [JobState(name) for name in state or []]
    return _say(job_commands.listed(config, states, limit, as_json=json))


@jobs_app.command
def show(job: int, pipeline: Path = Path("pipeline.yaml"), *, json: Flag = False) -> int:
    """Show one job: its file, attempts, errors and, as JSON, its report.

    Args:
        job: Its number.
        pipeline: The daemon's pipeline.yaml.
        json: As a JSON object.
    """
    from sorawm_pipeline.service import job_commands

    return _say(job_commands.shown(_config(pipeline, [], None), job, as_json=json))


@jobs_app.command
def retry(*jobs: int, pipeline: Path = Path("pipeline.yaml")) -> int:
    """Put jobs that ended without a result back into the queue.

    Args:
        jobs: Their numbers.
        pipeline: The daemon's pipeline.yaml.
    """
    from sorawm_pipeline.service import job_commands

    return _say(job_commands.retried(_config(pipeline, [], None), jobs))


@jobs_app.command
def pause(*jobs: int, pipeline: Path = Path("pipeline.yaml")) -> int:
    """Take jobs off the queue until they are resumed; what is done of long clips is kept.

    Args:
        jobs: Their numbers.
        pipeline: The daemon's pipeline.yaml.
    """
    from sorawm_pipeline.service import job_commands

    return _say(job_commands.paused(_config(pipeline, [], None), jobs))


@jobs_app.command
def resume(*jobs: int, pipeline: Path = Path("pipeline.yaml")) -> int:
    """Put paused jobs back into the queue; long clips go on where they stopped.

    Args:
        jobs: Their numbers.
        pipeline: The daemon's pipeline.yaml.
    """
    from sorawm_pipeline.service import job_commands

    return _say(job_commands.resumed(_config(pipeline, [], None), jobs))


@jobs_app.command
def forget(*jobs: int, pipeline: Path = Path("pipeline.yaml")) -> int:
    """Delete jobs from the ledger; their files are then as new.

    Args:
        jobs: Their numbers.
        pipeline: The daemon's pipeline.yaml.
    """
    from sorawm_pipeline.service import job_commands

    return _say(job_commands.forgotten(_config(pipeline, [], None), jobs))


@models_app.command(name="list")
def list_models() -> int:
    """List the built-in and the pulled models."""
    from sorawm_pipeline.vision.model_store import listed

    for file in listed():
        columns = f"{file.name:20} {file.format:12} {file.bytes:>12} {file.sha256[:12]}"
        print(f"{columns}  {file.where}")
    return DONE


@models_app.command
def verify(*names: str) -> int:
    """Hash the models' files again; status 1 if one is missing or was changed.

    Args:
        names: Only these models.
    """
    from sorawm_pipeline.vision.model_store import verified

    status = DONE
    for file in verified(names):
        if file.error is None:
            print(f"ok: {file.name} {file.format} {file.sha256}")
        else:
            status = _complain(file.error, FAILED)
    return status


@models_app.command
def pull(name: str, *, url: str | None = None, sha256: str | None = None) -> int:
    """Download weights of another author, to be named in detect.weights.

    Args:
        name: What to call them here: small letters, digits and . _ -
        url: Where they lie: https, ending in .onnx, .torchscript, .engine or .pt.
        sha256: What the file's SHA-256 must be.
    """
    from sorawm_pipeline.vision import model_store

    path = model_store.pull(name, url, sha256)
    print(path or f"{name} ships with the program; there is nothing to do")
    return DONE


@models_app.command
def remove(name: str) -> int:
    """Delete a pulled model.

    Args:
        name: As `models list` shows it.
    """
    from sorawm_pipeline.vision import model_store

    print(f"removed {model_store.remove(name)}")
    return DONE


async def _cleaned(
    config: PipelineConfig, clips: Sequence[Planned], reporter: Reporter, *, overwrite: bool
) -> list[ClipReport]:
    """Clean clips here, or on a cluster, as many of them at once as it has slots."""
    from sorawm_pipeline.batch import clean_all
    from sorawm_pipeline.cluster import connected
    from sorawm_pipeline.pipeline import Pipeline

    async with connected(config) as hands:
        at_once = 1 if hands is None else hands.slots
        pipeline = Pipeline(config, hands)
        return await clean_all(
            pipeline, clips, overwrite=overwrite, listener=reporter, at_once=at_once
        )


def _watch(
    pipeline: Path,
    overrides: list[str],
    log_format: str | None,
    folder: Path | None,
    output: Path | None,
    *,
    overwrite: bool,
    http: bool = False,
) -> int:
    from sorawm_pipeline.service.command import watch_folder

    def read() -> PipelineConfig:
        config = _config(pipeline, overrides, log_format)
        source = config.input.model_copy(update={"watch": folder or config.input.watch})
        result = config.output.model_copy(
            update={"overwrite": overwrite or config.output.overwrite}
        )
        return config.model_copy(update={"input": source, "output": result})

    def say(line: str) -> None:
        print(line, flush=True)

    def hint(url: str) -> None:
        print(f"dashboard: {url}", file=sys.stderr, flush=True)

    finished = watch_folder(read, output, say, hint, http=http)
    return DONE if finished else INTERRUPTED


def _say(lines: list[str]) -> int:
    for line in lines:
        print(line)
    return DONE


def _config(path: Path, overrides: list[str], log_format: str | None) -> PipelineConfig:
    from sorawm_pipeline.config import PipelineConfig
    from sorawm_pipeline.logs import configure

    if log_format is not None:
        overrides = [*overrides, f"log.format={log_format}"]
    config = PipelineConfig.from_yaml(path, overrides)
    configure(config.log.level, config.log.format)
    return config


def _check_report(report: Path | None, inputs: list[Path]) -> None:
    """Refuse a report that cannot be written before work that takes hours, not after it."""
    if report is None:
        return
    folder = report.resolve().parent
    if not folder.is_dir() or not os.access(folder, os.W_OK):
        raise ConfigError(f"--report {report}: {folder} is not a folder that can be written to")
    if report.is_dir():
        raise ConfigError(f"--report {report} is a folder")
    if report.resolve() in {path.resolve() for path in inputs}:
        raise ConfigError(f"--report {report} is an input or another output")


def call(arguments: list[str] | None = None) -> int:
    """Run one command and return its exit status; errors become one sentence on stderr."""
    try:
        result = app(
            arguments, exit_on_error=False, print_error=False, result_action="return_value"
        )
    except CycloptsError as error:
        return _complain(f"{error}\nTry: sorawm-pipeline --help", WRONG_USAGE)
    except ConfigError as error:
        return _complain(error.message, WRONG_USAGE)
    except PipelineError as error:
        return _complain(error.message, FAILED)
    except OSError as error:
        # Our own output cannot be written; point stdout at nothing so that exit stays silent.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return _complain(f"stdout cannot be written to: {error.strerror}", FAILED)
    except KeyboardInterrupt:
        return INTERRUPTED
    return result if isinstance(result, int) else DONE


def _complain(message: str, status: int) -> int:
    print(message, file=sys.stderr)
    return status


def main() -> None:
    _open_closed_streams()
    sys.exit(call())


def _open_closed_streams() -> None:
    """Point stdout and stderr at nothing where they were closed, lest a file get their place."""
    for number, name in ((1, "stdout"), (2, "stderr")):
        if getattr(sys, name) is None:
            nothing = os.open(os.devnull, os.O_WRONLY)
            if nothing != number:
                os.dup2(nothing, number)
            setattr(sys, name, os.fdopen(number, "w", closefd=False))


__all__ = ["app", "call", "main"]
