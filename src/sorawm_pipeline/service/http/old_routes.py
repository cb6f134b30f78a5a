"""The three routes of SoraWatermarkCleaner's server, answering as they did."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Path, Query, Request, Response
from pydantic import BaseModel

from sorawm_pipeline.service.http import files
from sorawm_pipeline.service.http.forms import FIELD, FormFile
from sorawm_pipeline.service.http.problems import RequestError
from sorawm_pipeline.service.http.state import Served, State
from sorawm_pipeline.service.jobs import UNFINISHED, Job, JobState

FORM: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "properties": {FIELD: {"type": "string", "format": "binary"}},
                    "required": [FIELD],
                }
            }
        },
    }
}
TaskId = Annotated[str, Query(max_length=20, pattern=r"^[0-9]{1,18}$")]

router = APIRouter(tags=["as SoraWatermarkCleaner"])


class Submitted(BaseModel):
    task_id: str
    message: str


class Results(BaseModel):
    """`status` is PROCESSING, FINISHED or ERROR; `download_url` is set when it is FINISHED."""

    task_id: str
    status: str
    percentage: int
    download_url: str | None


@router.post("/submit_remove_task", openapi_extra=FORM)
async def submit_remove_task(served: Served, request: Request) -> Submitted:
    """Take in the form's field `video`."""
    served.need_work()
    form = FormFile(request.headers.get("content-type", ""), request.stream())
    job = await served.uploads.take(await form.name(), form.chunks(), None)
    return Submitted(task_id=str(job.id), message="Task submitted.")


@router.get("/get_results")
async def get_results(served: Served, remove_task_id: TaskId) -> Results:
    """How far a task is."""
    job = await _original(served, int(remove_task_id))
    status, percentage = _progress(served, job)
    url = f"/download/{job.id}" if job.state is JobState.DONE else None
    return Results(task_id=remove_task_id, status=status, percentage=percentage, download_url=url)


@router.get("/download/{task_id}", response_class=Response)
async def download(
    served: Served, task_id: Annotated[str, Path(max_length=20, pattern=r"^[0-9]{1,18}$")]
) -> Response:
    """The cleaned clip."""
    job = await _original(served, int(task_id))
    if job.state is not JobState.DONE or job.result is None:
        raise RequestError(404, "not_done", f"task {task_id} has no result; it is {job.state}")
    return await files.response(job.output, job.result.fingerprint, save=True)


async def _original(served: State, number: int) -> Job:
    """A job; of one with content that was there before, that one."""
    job = await served.job(number)
    return job if job.same_as is None else await served.job(job.same_as)


def _progress(served: State, job: Job) -> tuple[str, int]:
    if job.state is JobState.DONE:
        return "FINISHED", 100
    if job.state not in UNFINISHED:
        return "ERROR", 0
    for slot in served.daemon.status().slots:
        progress = slot.progress
        if slot.job == job.id and progress is not None and progress.frames_expected:
            return "PROCESSING", min(99, 100 * progress.frames // progress.frames_expected)
    return "PROCESSING", 0
