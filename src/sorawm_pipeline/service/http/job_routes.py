"""Jobs over HTTP: take in, list, show, cancel, retry, forget, fetch."""

from __future__ import annotations

from pathlib import Path as FilePath
from typing import Annotated, Any

from fastapi import APIRouter, Path, Query, Request, Response
from pydantic import BaseModel

from sorawm_pipeline.errors import InputError
from sorawm_pipeline.service.http import files
from sorawm_pipeline.service.http.problems import RequestError
from sorawm_pipeline.service.http.state import Served
from sorawm_pipeline.service.http.views import JobDetail, JobList, JobView
from sorawm_pipeline.service.jobs import UNDER_WAY, UNFINISHED, Job, JobState

LARGEST_ID = (1 << 63) - 1
PAGE, LARGEST_PAGE = 50, 500

Number = Annotated[int, Path(ge=1, le=LARGEST_ID)]
ANY_BYTES: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}},
    }
}
VIDEO: dict[str, Any] = {"content": {"video/*": {"schema": {"type": "string", "format": "binary"}}}}

router = APIRouter(prefix="/api", tags=["jobs"])


class FileOnDisk(BaseModel):
    """A file of the daemon's machine, inside one of `service.roots`."""

    path: str


@router.get("/jobs")
async def list_jobs(
    served: Served,
    state: Annotated[list[JobState] | None, Query()] = None,
    limit: Annotated[int, Query(ge=1, le=LARGEST_PAGE)] = PAGE,
    before: Annotated[int | None, Query(ge=1, le=LARGEST_ID)] = None,
) -> JobList:
    """Jobs, the newest first."""
    found = await served.ask(
        lambda ledger: ledger.jobs(state or (), limit=limit + 1, before=before)
    )
    more = len(found) > limit
    found = found[:limit]
    return JobList(
        jobs=[JobView.of(job) for job in found], next=found[-1].id if more and found else None
    )


@router.post("/jobs", status_code=201)
async def submit_path(served: Served, file: FileOnDisk) -> JobView:
    """Take in a file of this machine."""
    served.need_work()
    path = allowed(file.path, served.daemon.config.service.roots)
    return JobView.of(await served.daemon.submit(path))


@router.post("/uploads", status_code=201, openapi_extra=ANY_BYTES)
async def upload(
    served: Served,
    request: Request,
    name: Annotated[str, Query(max_length=1000)] = "upload",
) -> JobView:
    """Take in the request's body as a file."""
    served.need_work()
    length = request.headers.get("content-length", "")
    announced = int(length) if length.isdigit() else None
    return JobView.of(await served.uploads.take(name, request.stream(), announced))


@router.get("/jobs/{number}")
async def show_job(served: Served, number: Number) -> JobDetail:
    """One job with its attempts and its report."""
    job = await served.job(number)
    return JobDetail.whole(job, await served.ask(lambda ledger: ledger.attempts(number)))


@router.post("/jobs/{number}/cancel")
async def cancel(served: Served, number: Number) -> JobView:
    """Take it off the queue, or stop its attempt; an event tells when that has ended."""
    job = await served.job(number)
    # A worker may still hold one that has just ended.
    if job.state in UNFINISHED:
        job = await served.daemon.cancel(number)
    if job.state not in (JobState.CANCELLED, *UNDER_WAY):
        raise RequestError(409, "state", f"job {number} is {job.state} and cannot be cancelled")
    return JobView.of(job)


@router.post("/jobs/{number}/pause")
async def pause(served: Served, number: Number) -> JobView:
    """Take it off the queue until it is resumed; what is done of a long clip is kept."""
    await served.job(number)
    job = await served.daemon.pause(number)
    if job.state is not JobState.PAUSED:
        raise RequestError(409, "state", f"job {number} is {job.state} and cannot be paused")
    return JobView.of(job)


@router.post("/jobs/{number}/resume")
async def resume(served: Served, number: Number) -> JobView:
    """Put a paused job back into the queue; a long clip goes on where it stopped."""
    job = await served.job(number)
    if job.state is not JobState.PAUSED:
        raise RequestError(409, "state", f"job {number} is {job.state} and cannot be resumed")
    return JobView.of(await served.daemon.resume(number))


@router.post("/jobs/{number}/retry")
async def retry(served: Served, number: Number) -> JobView:
    """Put a job that ended without a result back into the queue."""
    served.need_work()
    await served.job(number)
    job = await served.daemon.retry(number)
    if job.state is not JobState.WAITING:
        raise RequestError(409, "state", f"job {number} is {job.state} and cannot be tried again")
    return JobView.of(job)


@router.delete("/jobs/{number}", status_code=204)
async def forget(served: Served, number: Number) -> Response:
    """Delete a job that is not under way from the ledger; its files stay."""
    await served.job(number)
    if not await served.daemon.forget(number):
        raise RequestError(409, "running", f"job {number} is under way; cancel it first")
    return Response(status_code=204)


@router.get("/jobs/{number}/result", response_class=Response, responses={200: VIDEO, 206: VIDEO})
async def result(served: Served, number: Number, save: bool = False) -> Response:
    """The cleaned clip, with ranges; `save` as a file to keep."""
    job = await served.job(number)
    if job.state is not JobState.DONE or job.result is None:
        raise RequestError(409, "not_done", f"job {number} has no result; it is {job.state}")
    return await files.response(job.output, job.result.fingerprint, save=save)


@router.get("/jobs/{number}/source", response_class=Response, responses={200: VIDEO, 206: VIDEO})
async def source(served: Served, number: Number, save: bool = False) -> Response:
    """The clip as it was, with ranges, while it is where it was."""
    job: Job = await served.job(number)
    return await files.response(job.source.path, job.source.fingerprint, save=save)


def allowed(given: str, roots: tuple[FilePath, ...]) -> FilePath:
    """A path with all links followed, if it lies in one of `roots`.

    Raises:
        RequestError: it does not.
        InputError: there is nothing.
    """
    if not roots:
        raise RequestError(403, "roots", "no folder is open for this; name some in service.roots")
    outside = RequestError(403, "roots", "the file lies in none of the folders of service.roots")
    try:
        path = FilePath(given)
        if not path.is_absolute():
            raise RequestError(422, "request", "the path must be absolute")
        found = path.resolve(strict=True)
        inside = any(found.is_relative_to(root.resolve()) for root in roots)
    except (OSError, ValueError, RuntimeError):
        # Whether there is something outside the roots is nobody's business.
        if any(_below(given, root) for root in roots):
            raise InputError(f"{given!a} is not there, or may not be read") from None
        raise outside from None
    if not inside:
        raise outside
    return found


def _below(given: str, root: FilePath) -> bool:
    """Whether a path lies below a root by its name alone."""
    path = FilePath(given)
    return ".." not in path.parts and path.is_relative_to(root)
