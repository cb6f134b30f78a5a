"""What the daemon and its workers say to each other: one JSON object a line.

A worker decodes files of unknown origin, so what it says is checked like any input: unknown keys,
wrong types and endless lines are errors, after which the worker is replaced. Paths travel
percent-encoded, as they may be any bytes.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    FiniteFloat,
    TypeAdapter,
)

from sorawm_pipeline.report import Text
from sorawm_pipeline.wire_path import WirePath

LINE_MAX = 32 << 20
"""Bytes of the longest line; a report of a long clip with many marks is the longest there is."""


class Message(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    def line(self) -> bytes:
        return self.model_dump_json().encode() + b"\n"


# to a worker


class Configure(Message):
    """The first message.

    Attributes:
        config: of the pipeline.
        address_space: bytes; None: no limit.
        cpu_s: seconds of computing without progress.
        sharers: workers that share the cluster, if there is one.
    """

    kind: Literal["configure"] = "configure"
    config: dict[str, Any]
    address_space: int | None
    cpu_s: float
    sharers: int = 1


class Clean(Message):
    """Clean a clip into `output`, a name in a staging folder, of at most `max_bytes`."""

    kind: Literal["clean"] = "clean"
    source: WirePath
    output: WirePath
    max_bytes: int


class Inspect(Message):
    """Say whether a file is a whole clip and what its content is; `last`: also if it is not."""

    kind: Literal["inspect"] = "inspect"
    source: WirePath
    last: bool


class Cancel(Message):
    kind: Literal["cancel"] = "cancel"


class Rest(Message):
    """Stop a clip that is done in pieces once those at work are done."""

    kind: Literal["rest"] = "rest"


class Piece(Message):
    """Do a piece of another worker's clip, as in `segments.orders.Order`."""

    kind: Literal["piece"] = "piece"
    source: WirePath
    store: WirePath
    plan: str
    task: str
    max_bytes: int


class Lend(Message):
    """Another worker may be given pieces of the clip in hand, under this number."""

    kind: Literal["lend"] = "lend"
    hand: int


class Recall(Message):
    """That one has something else to do, once it is done with its piece."""

    kind: Literal["recall"] = "recall"
    hand: int


class Given(Message):
    """How a piece ended: an `segments.orders.Answer`; None: its worker was lost."""

    kind: Literal["given"] = "given"
    hand: int
    answer: str | None


Request = Configure | Clean | Inspect | Cancel | Rest | Piece | Lend | Recall | Given
REQUESTS: TypeAdapter[Request] = TypeAdapter(Annotated[Request, Field(discriminator="kind")])


# from a worker


class StageProgress(Message):
    """As `engine.probe.StageSnapshot`."""

    items: int
    batches: int
    busy_s: FiniteFloat
    wait_in_s: FiniteFloat
    wait_out_s: FiniteFloat


class QueueProgress(Message):
    """As `engine.probe.QueueSnapshot`."""

    capacity: int
    queued: int
    peak: int


class GpuProgress(Message):
    """Free and total bytes, load in percent, degrees Celsius; None where not told."""

    free: int | None = None
    total: int | None = None
    utilisation: float | None = None
    temperature: float | None = None
    throttled: bool = False


class Doing(Message):
    """How a worker's clip is doing.

    Attributes:
        phase: `preparing` (models are loaded too), `cleaning`, `verifying`, `finishing`,
            `reading` (the result, for its digest; `frames` are bytes then).
        frames, frames_expected, fps: as in `readings.Reading`.
        stages: by name, in order.
        queues: by "from->to", in order.
        batch_caps: by stage.
        live_frames, live_bound: frames in the corridor and the most there can be.
        rss, peak_rss: bytes of the worker process.
        in_pieces: whether it can rest between two of them.
    """

    phase: Text
    frames: int
    frames_expected: int | None
    fps: FiniteFloat
    stages: dict[str, StageProgress]
    queues: dict[str, QueueProgress]
    batch_caps: dict[str, int]
    live_frames: int
    live_bound: int
    rss: int
    peak_rss: int
    gpu: GpuProgress | None = None
    in_pieces: bool = False


class WorkProgress(Doing):
    """What a worker says about once a second."""

    kind: Literal["progress"] = "progress"

    @property
    def moved(self) -> object:
        """Differs from that of an earlier message if something has been done in between."""
        return self.phase, self.frames, [stage.items for stage in self.stages.values()]


class FailureTold(Message):
    """A failure in words that are valid UTF-8, whatever the file's name is."""

    kind: str
    message: Text
    stage: str | None = None


class Ready(Message):
    """A worker is up: what of its confinement holds, and what is wrong with its configuration."""

    kind: Literal["ready"] = "ready"
    confined: tuple[str, ...]
    wrong: str | None = None


class Cleaned(Message):
    """The end of a `Clean`; a result (size, mtime_ns, SHA-256) and a report only if `done`."""

    kind: Literal["cleaned"] = "cleaned"
    outcome: Literal["done", "failed", "cancelled"]
    report: str | None = None
    failure: FailureTold | None = None
    size: int = 0
    mtime_ns: int = 0
    digest: Annotated[str, Field(pattern=r"^[0-9a-f]{0,64}$")] = ""


class Inspected(Message):
    """The end of an `Inspect`.

    Attributes:
        verdict: `whole`; `broken`, which includes what is no video at all; `unreadable`: the
            system refuses; `changed` while it was looked at.
        opens: whether it opens as a container that is allowed.
        digest: of the content, if it was read.
    """

    kind: Literal["inspected"] = "inspected"
    verdict: Literal["whole", "broken", "unreadable", "changed"]
    opens: bool = False
    failure: FailureTold | None = None
    size: int = 0
    mtime_ns: int = 0
    digest: Annotated[str, Field(pattern=r"^[0-9a-f]{0,64}$")] = ""


class Give(Message):
    """A piece for a lent worker: where the pieces are, the plan's name there, the task."""

    kind: Literal["give"] = "give"
    hand: int
    store: WirePath
    plan: str
    task: str


class Stop(Message):
    """Nobody needs that piece any more; it is answered all the same."""

    kind: Literal["stop"] = "stop"
    hand: int


class Back(Message):
    """A lent worker gets no more pieces."""

    kind: Literal["back"] = "back"
    hand: int


class PieceDone(Message):
    """The end of a `Piece`, as in `Given`; None: it was cancelled."""

    kind: Literal["piece_done"] = "piece_done"
    answer: str | None


ToHand = Give | Stop | Back
Answer = Ready | WorkProgress | Cleaned | Inspected | Give | Stop | Back | PieceDone
ANSWERS: TypeAdapter[Answer] = TypeAdapter(Annotated[Answer, Field(discriminator="kind")])
