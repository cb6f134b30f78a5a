"""Publishing one job, with a fault at one call to the system: run with `faults.c` loaded.

    LD_PRELOAD=faults.so python fault_steps.py FOLDER STRIDE

For every STRIDE-th call that touches the folder a child process publishes a job and is killed
before it, or after it, or has it fail with ENOSPC, EIO, EMFILE or EACCES, once or five times in a
row. Then another child takes up what is left, as a daemon does after a start. Prints one JSON
object.
"""

from __future__ import annotations

import asyncio
import ctypes
import errno
import json
import os
import shutil
import signal
import sys
import time
from collections import Counter
from functools import partial
from pathlib import Path

from sorawm_pipeline.config import InputConfig, PipelineConfig
from sorawm_pipeline.service import books as books_module
from sorawm_pipeline.service import endings as endings_module
from sorawm_pipeline.service import identity
from sorawm_pipeline.service.books import Books
from sorawm_pipeline.service.endings import Endings
from sorawm_pipeline.service.events import EventHub
from sorawm_pipeline.service.jobs import Failure, Job, JobState
from sorawm_pipeline.service.ledger import Ledger
from sorawm_pipeline.service.ledger_thread import LedgerThread
from sorawm_pipeline.service.loans import Loans
from sorawm_pipeline.service.names import reason_file, staging_folder
from sorawm_pipeline.service.room import Room
from sorawm_pipeline.service.shared import Shared
from sorawm_pipeline.service.signals import Bell, Gate

KILL_BEFORE, KILL_AFTER = -1, -2
ERRORS = (errno.ENOSPC, errno.EIO, errno.EMFILE, errno.EACCES)
CONTENT, BESIDE = b"the result " * 500, b"edited"
LIMIT_S = 20
WHY = Failure("internal", "it broke")

books_module.FIRST_WAIT_S = books_module.LONGEST_WAIT_S = 0.001
endings_module.FIRST_WAIT_S = endings_module.LONGEST_WAIT_S = 0.001


def lay_out(folder: Path) -> None:
    """A clip, and its job waiting; and one that will be quarantined."""
    shutil.rmtree(folder, ignore_errors=True)
    (folder / "in").mkdir(parents=True)
    (folder / "out").mkdir()
    with Ledger(folder / "ledger.sqlite3") as ledger:
        for name in ("a.ts", "b.ts"):
            path = folder / "in" / name
            path.write_bytes(name.encode())
            source = identity.source(path)
            assert source is not None
            ledger.admit(source, folder / "out" / name, 1.0)


async def work(folder: Path, reasons: set[str]) -> None:
    """What a daemon does from its start to the end of the jobs, the worker's part included."""
    ledger = LedgerThread(folder / "ledger.sqlite3")
    gate = Gate(lambda reason: reasons.add(reason or ""))
    shared = Shared(Books(ledger, gate), gate, Room(gate), Bell(), EventHub(), Loans(), time.time)
    config = PipelineConfig(input=InputConfig(watch=folder / "in"))
    endings = Endings(config, folder / "in", shared, lambda: False)
    keep = shared.books.keep
    await keep(lambda ledger: ledger.recover(2.0))
    for left in await keep(lambda ledger: ledger.unsettled()):
        await endings.finish(left)
    claims = 0
    while True:
        claim = f"{os.getpid()} {claims}"
        claims += 1
        job: Job | None = await keep(partial(Ledger.claim, claim=claim, now=3.0))
        if job is None:
            break
        await endings.discard(job)
        if job.source.path.name == "b.ts":
            fail = partial(Ledger.fail, number=job.id, failure=WHY, now=4.0, retry_at=None)
            failed = await keep(fail)
            await endings.finish(failed)
            continue
        try:
            make(job)
        except OSError:  # the worker says that it failed
            await keep(partial(Ledger.release, number=job.id, now=4.0))
            continue
        result = identity.result(staging_folder(job) / job.output.name)
        assert result is not None
        await keep(partial(Ledger.staged, number=job.id, result=result, report="{}"))
        staged: Job | None = await keep(partial(Ledger.job, number=job.id))
        assert staged is not None
        await endings.finish(staged)
    await endings.close()
    await ledger.close()


def make(job: Job) -> None:
    """The worker's part: a durable result, and what lies beside it."""
    staged = staging_folder(job) / job.output.name
    staged.parent.mkdir(exist_ok=True)
    for path, data in ((staged.with_name(staged.name + ".xmp"), BESIDE), (staged, CONTENT)):
        with path.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())


def in_child(folder: Path, at: int | None, action: int, times: int) -> tuple[int, int]:
    """Work in a child process with a fault at a call; its wait status and the calls it made."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            signal.alarm(LIMIT_S)
            faults = ctypes.CDLL(os.environ["LD_PRELOAD"])
            if at is not None:
                faults.fault_arm(os.fsencode(folder), at, action, times)
            asyncio.run(work(folder, set()))
            os.write(writing, str(faults.fault_seen()).encode())
            os._exit(0)
        finally:
            os._exit(1)
    os.close(writing)
    _, status = os.waitpid(child, 0)
    with os.fdopen(reading) as pipe:
        return status, int(pipe.read() or 0)


def complaints(folder: Path) -> list[str]:
    """What is wrong after everything has been taken up again."""
    found = []
    out = {str(path.relative_to(folder / "out")) for path in (folder / "out").rglob("*")}
    if out != {"a.ts", "a.ts.xmp"}:
        found.append(f"the folder of results holds {sorted(out)}")
    elif (folder / "out/a.ts").read_bytes() != CONTENT:
        found.append("the result is torn")
    elif (folder / "out/a.ts.xmp").read_bytes() != BESIDE:
        found.append("what lies beside the result is torn")
    inputs = {path.name for path in (folder / "in").iterdir()}
    reason = reason_file(folder / "in/b.ts").name
    if inputs != {"a.ts", "b.ts", reason}:
        found.append(f"the watched folder holds {sorted(inputs)}")
    with Ledger(folder / "ledger.sqlite3") as ledger:
        second, first = ledger.jobs()
        states = (first.state, second.state, first.settled, second.settled)
        if states != (JobState.DONE, JobState.QUARANTINED, True, True):
            found.append(f"the ledger says {states}")
        outcomes = [attempt.outcome for attempt in ledger.attempts(first.id)]
        if outcomes.count("done") != 1 or "running" in outcomes:
            found.append(f"the attempts are {outcomes}")
    return found


def main() -> None:
    folder, stride = Path(sys.argv[1]), int(sys.argv[2])
    lay_out(folder)
    status, calls = in_child(folder, 1 << 30, 0, 0)
    assert status == 0, status
    trials, wrong, ends = 0, [], Counter[str]()
    actions = [(KILL_BEFORE, 1), (KILL_AFTER, 1), *((e, n) for e in ERRORS for n in (1, 5))]
    for action, times in actions:
        name = {KILL_BEFORE: "killed before", KILL_AFTER: "killed after"}.get(action)
        name = name or f"{errno.errorcode[action]} x{times}"
        for at in range(trials % stride, calls, stride):
            lay_out(folder)
            trials += 1
            status, _ = in_child(folder, at, action, times)
            killed = os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL
            ends["killed" if killed else "ended" if status == 0 else "failed"] += 1
            if not killed and status != 0:
                wrong.append(f"{name} at {at}: ended with {status}")
            second, _ = in_child(folder, None, 0, 0)
            problems = complaints(folder) if second == 0 else [f"taking up ended with {second}"]
            wrong += [f"{name} at {at}: {problem}" for problem in problems]
    print(json.dumps({"calls": calls, "trials": trials, "ends": ends, "wrong": wrong}))


if __name__ == "__main__":
    main()
