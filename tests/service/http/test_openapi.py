"""Whatever comes in, nothing breaks: requests made up from the OpenAPI description."""

from __future__ import annotations

import asyncio
import warnings
from typing import Any

import hypothesis
import pytest

from tests.service.http.conftest import TOKEN, Serve

EXAMPLES = 20
SKIPPED = ("/api/events",)  # it never ends; see test_events


def attack(url: str, token: str | None) -> list[tuple[str, str, int]]:
    """Method, path and status of every answer to requests, fitting the description or not."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of a foreign program's own making
        import schemathesis
        from schemathesis.generation import GenerationMode

        headers = {"Authorization": f"Bearer {TOKEN}"}
        schema = schemathesis.openapi.from_url(f"{url}openapi.json", headers=headers)
        found: list[tuple[str, str, int]] = []
        for result in schema.get_all_operations():
            operation = result.ok()  # type: ignore[union-attr]
            if operation.path in SKIPPED:
                continue

            @hypothesis.settings(
                max_examples=EXAMPLES,
                deadline=None,
                database=None,
                suppress_health_check=list(hypothesis.HealthCheck),
                phases=[hypothesis.Phase.generate],
            )
            @hypothesis.given(
                case=operation.as_strategy(GenerationMode.POSITIVE)
                | operation.as_strategy(GenerationMode.NEGATIVE)
            )
            def one(case: Any) -> None:
                mine = {"Authorization": f"Bearer {token}"} if token else {}
                answer = case.call(headers=mine, timeout=10)
                found.append((case.method, case.path, answer.status_code))

            one()
    return found


@pytest.mark.slow
async def test_no_request_breaks_the_server_and_none_passes_without_the_token(serve: Serve) -> None:
    async with asyncio.timeout(110), serve(token=TOKEN, upload_max=10_000) as client:
        url = str(client.base_url)
        with_token = await asyncio.to_thread(attack, url, TOKEN)
        without = await asyncio.to_thread(attack, url, None)
        assert (await client.get("/healthz")).status_code == 200
    broken = [each for each in with_token + without if each[2] >= 500]
    assert broken == []
    assert len({path for _, path, _ in with_token}) >= 13
    assert {200, 404, 422} <= {status for *_, status in with_token}
    open_paths = {"/healthz", "/readyz", "/api/session"}
    passed = {(path, status) for _, path, status in without if path not in open_paths}
    assert {status for _, status in passed} <= {401, 413}
