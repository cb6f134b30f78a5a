"""A worker that does what the file says, to be started instead of the real one.

    python stub_worker.py [FOLDER]

A clip is a text file: `film` and anything behind it. Its first words may be:

    film crash        the process dies, every time
    film crash once   the first time
    film hang         no sign of life
    film grow         takes memory
    film chatter      says what no worker says
    film fail KIND    fails with that kind
    film slow         goes on, with progress, until it is cancelled
    film pieces       goes on in pieces until it is told to rest; when it finds a piece, it is done
    film share WORD   gives a worker that is lent to it three pieces of that kind, and is done
    film wait NAME    until a file of that name is beside it
    film leave        publishes, but beside its output leaves a sidecar
    film long         a line without end
    kill              ends the process that looks at it
    half              is not whole
    sound             opens, but has no picture

Whatever it does is written down in FOLDER/log, one line each.
"""

from __future__ import annotations

import hashlib
import json
import os
import select
import sys
import time
from pathlib import Path
from urllib.parse import unquote_to_bytes

MEGABYTE = 1 << 20


def say(kind: str, **values: object) -> None:
    line = json.dumps({"kind": kind, **values}).encode() + b"\n"
    while line:
        line = line[os.write(1, line) :]


def log(*words: object) -> None:
    if len(sys.argv) > 1:
        with (Path(sys.argv[1]) / "log").open("a") as file:
            file.write(" ".join(map(str, words)) + "\n")


def progress(frames: int, *, in_pieces: bool = False) -> None:
    say(
        "progress",
        phase="cleaning",
        frames=frames,
        frames_expected=None,
        fps=25.0,
        stages={},
        queues={},
        batch_caps={"detect": 4},
        live_frames=1,
        live_bound=9,
        rss=1,
        peak_rss=1,
        in_pieces=in_pieces,
    )


def identity(path: Path) -> dict[str, object]:
    status = path.stat()
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    return {"size": status.st_size, "mtime_ns": status.st_mtime_ns, "digest": digest}


def inspect(path: Path, last: bool) -> None:
    if not os.path.lexists(path):
        say("inspected", verdict="changed")
        return
    text = path.read_text("utf-8", "replace")
    if text.startswith("kill"):
        os.abort()
    if text.startswith("film"):
        say("inspected", verdict="whole", opens=True, **identity(path))
        return
    opens = text.startswith(("half", "sound"))
    kind = "no_video" if text.startswith("sound") else "unreadable"
    failure = {"kind": kind, "message": f"{path.name!a} is not whole"}
    told = identity(path) if last else {}
    say("inspected", verdict="broken", opens=opens, failure=failure, **told)


def piece(line: Line, kind: str) -> None:
    """A piece of another worker's clip: `well`, `slow` (until cancelled), or `crash`."""
    if kind == "crash":
        os.abort()
    while kind == "slow":
        request = line.next(0.05)
        if request is not None and request["kind"] == "cancel":
            log("piece cancelled")
            say("piece_done", answer=None)
            return
    say("piece_done", answer='{"outcome": "done"}')


def share(line: Line, kind: str, store: Path) -> bool:
    """Have pieces done by who is lent; False: it was cancelled.

    `endless` are given until the hand is recalled, `foreign` lie elsewhere, after `fatal` it dies.
    """
    frames, given, hand, back = 0, 0, None, False
    place = "/etc" if kind == "foreign" else str(store)
    task = {"endless": "well", "fatal": "slow", "foreign": "well"}.get(kind, kind)
    while True:
        progress(frames, in_pieces=True)
        frames += 1
        request = line.next(0.05)
        match request and request["kind"]:
            case "lend" if request is not None and hand is None:
                hand = request["hand"]
                say("give", hand=hand, store=place, plan="plan", task=task)
                if kind == "fatal":
                    time.sleep(0.2)
                    os.abort()
            case "lend" if request is not None:
                say("back", hand=request["hand"])
            case "recall":
                log("recall")
                back = True
            case "given" if request is not None:
                log("given", request["answer"])
                given += 1
                if back or request["answer"] is None or (given == 3 and kind != "endless"):
                    say("back", hand=hand)
                    if kind != "endless":
                        return True
                else:
                    say("give", hand=hand, store=place, plan="plan", task=task)
            case "cancel" if kind == "slow":
                say("stop", hand=hand)
                while line.next() != {"kind": "given", "hand": hand, "answer": None}:
                    pass
                return False
            case "cancel":
                return False


class Line:
    """Requests on stdin."""

    def __init__(self) -> None:
        self._have = b""

    def next(self, timeout: float | None = None) -> dict[str, object] | None:
        """The next one; None if none comes in time. Ends the process with the line."""
        while b"\n" not in self._have:
            if not select.select([0], [], [], timeout)[0]:
                return None
            if not (more := os.read(0, 65536)):
                sys.exit(0)
            self._have += more
        line, self._have = self._have.split(b"\n", 1)
        found: dict[str, object] = json.loads(line)
        return found


def clean(line: Line, source: Path, output: Path) -> None:
    words = source.read_text("utf-8", "replace").split()[1:]
    output.parent.mkdir(parents=True, exist_ok=True)
    half = output.with_name(".sorawm-half")
    half.write_text("half")
    once = Path(sys.argv[1]) / "once" if len(sys.argv) > 1 else None
    match words:
        case ["crash", "once", *_] if once is not None and not once.exists():
            once.touch()
            os.abort()
        case ["crash", other, *_] if other != "once":
            os.abort()
        case ["crash"]:
            os.abort()
        case ["hang", *_]:
            time.sleep(600)
        case ["chatter", *_]:
            say("cleaned", outcome="excellent")
        case ["long", *_]:
            os.write(1, b"x" * 40 * MEGABYTE)
        case ["grow", *_]:
            hoard = []
            while True:
                hoard.append(b"x" * 20 * MEGABYTE)
                progress(len(hoard))
                time.sleep(0.02)
        case ["fail", kind, *_]:
            half.unlink()
            say("cleaned", outcome="failed", failure={"kind": kind, "message": f"it is {kind}"})
            return
        case ["slow" | "wait", *_]:
            frames = 0
            while True:
                progress(frames)
                frames += 1
                request = line.next(0.05)
                if request is not None and request["kind"] == "cancel":
                    say("cleaned", outcome="cancelled")
                    return
                if words[0] == "wait" and (source.parent / words[1]).exists():
                    break
        case ["pieces", *_]:
            piece = output.parent / ".sorawm-pieces" / "row" / "one"
            if not piece.exists():
                piece.parent.mkdir(parents=True)
                piece.touch()
                frames = 0
                while True:
                    progress(frames, in_pieces=True)
                    frames += 1
                    request = line.next(0.05)
                    if request is not None and request["kind"] in ("cancel", "rest"):
                        log(request["kind"])
                        say("cleaned", outcome="cancelled")
                        return
        case ["share", kind, *_] if not share(line, kind, output.parent / ".sorawm-pieces"):
            say("cleaned", outcome="cancelled")
            return
        case ["leave", *_]:
            output.with_name(output.name + ".xmp").write_text("edited")
    half.write_bytes(b"cleaned " + source.read_bytes())
    half.replace(output)
    progress(1)
    report = json.dumps({"input": "in", "output": "staged", "status": "done"})
    say("cleaned", outcome="done", report=report, **identity(output))


def main() -> None:
    line = Line()
    settings = line.next()
    assert settings is not None
    log("started", os.getpid())
    say("ready", confined=[])
    while True:
        request = line.next()
        assert request is not None
        if request["kind"] in ("cancel", "rest", "recall", "given"):
            continue
        if request["kind"] == "lend":
            say("back", hand=request["hand"])
            continue
        source = Path(os.fsdecode(unquote_to_bytes(str(request["source"]))))
        log(request["kind"], ascii(source.name))
        if request["kind"] == "inspect":
            inspect(source, bool(request["last"]))
        elif request["kind"] == "piece":
            piece(line, str(request["task"]))
        else:
            clean(line, source, Path(os.fsdecode(unquote_to_bytes(str(request["output"])))))


if __name__ == "__main__":
    main()
