"""Pieces on a Ray cluster of three nodes on this machine, one of which dies."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sorawm_pipeline import Pipeline, PipelineConfig, cluster
from sorawm_pipeline.cluster import connected
from sorawm_pipeline.errors import ConfigError, DeviceError
from sorawm_pipeline.service.jobs import JobState
from sorawm_pipeline.service.ledger import Ledger
from sorawm_pipeline.service.worker import PROGRAM
from tests.clips import Clip, pictures
from tests.segments.test_hands import two
from tests.segments.test_pieces import CLIP, FRAMES, jumping
from tests.service.conftest import House, house

ray: Any = pytest.importorskip("ray", reason="Ray is not installed")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore::ResourceWarning"),  # Ray's own sockets and processes
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning:ray"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning:ray"),
]

STORE_BYTES = 80 << 20
__all__ = ["house"]  # a fixture


@pytest.fixture(scope="module")
def nodes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """A head without cores and three nodes of one core each."""
    from ray.cluster_utils import Cluster

    patch = pytest.MonkeyPatch()
    patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    patch.setenv("PYTHONPATH", ":".join(path for path in sys.path if path))
    made = Cluster()
    try:
        made.add_node(num_cpus=0, object_store_memory=STORE_BYTES, include_dashboard=False)
        for _ in range(3):
            made.add_node(num_cpus=1, object_store_memory=STORE_BYTES)
        yield made
    finally:
        made.shutdown()
        patch.undo()


def on(address: str | None, **sections: Any) -> PipelineConfig:
    return two(cluster={"address": address}, **sections)


def same_pictures(one: Path, other: Path) -> bool:
    return all(
        np.array_equal(*planes)
        for there, here in zip(pictures(one), pictures(other), strict=True)
        for planes in zip(there, here, strict=True)
    )


async def test_a_cluster_makes_what_one_process_makes_though_a_node_dies(
    nodes: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = CLIP.write(tmp_path / "in.mp4")
    one = await Pipeline(two(pieces={"length_s": 0})).process(source, tmp_path / "one.mkv")
    async with connected(on(nodes.address)) as hands:
        assert hands is not None
        assert hands.slots == 3
        do, begun = cluster._Actor.do, asyncio.get_running_loop().create_future()

        async def noticed(actor: cluster._Actor, *rest: Any) -> None:
            if not begun.done():
                begun.set_result(None)
            await do(actor, *rest)

        monkeypatch.setattr(cluster._Actor, "do", noticed)
        job = asyncio.create_task(
            Pipeline(on(nodes.address), hands).process(source, tmp_path / "many.mkv")
        )
        await asyncio.wait_for(begun, 60)
        await asyncio.to_thread(nodes.remove_node, next(iter(nodes.worker_nodes)))
        report = await asyncio.wait_for(job, 90)
    assert report.pieces is not None
    assert (report.pieces.found, report.pieces.restored) == (5, 5)
    assert report.marks == one.marks
    assert same_pictures(tmp_path / "one.mkv", tmp_path / "many.mkv")


@pytest.mark.parametrize("store", [None, "bucket"])
async def test_short_clips_go_to_the_cluster_too(
    nodes: Any, tmp_path: Path, store: str | None
) -> None:
    url = store and f"file://{tmp_path / store}"
    wanted = two(cluster={"address": nodes.address, "store": url}, pieces={"from_s": 600})
    sources = [
        Clip(12, jumping, options=CLIP.options).write(tmp_path / f"{name}.mp4") for name in "ab"
    ]
    async with connected(wanted) as hands:
        pipeline = Pipeline(wanted, hands)
        reports = await asyncio.gather(
            *(pipeline.process(source, source.with_suffix(".mkv")) for source in sources)
        )
    for report in reports:
        assert report.frames.encoded == 12
        assert report.pieces is not None
        assert report.pieces.pieces == 1
    assert not [path for path in tmp_path.rglob("bucket/**/*") if path.is_file()]


async def test_cancelling_frees_the_cluster(nodes: Any, tmp_path: Path) -> None:
    source = Clip(FRAMES, jumping, options=CLIP.options).write(tmp_path / "in.mp4")
    async with connected(on(nodes.address)) as hands:
        pipeline = Pipeline(on(nodes.address), hands)
        job = asyncio.create_task(pipeline.process(source, tmp_path / "out.mkv"))
        await asyncio.sleep(0)
        job.cancel()
        with pytest.raises(asyncio.CancelledError):
            await job
        assert not (tmp_path / "out.mkv").exists()
        report = await asyncio.wait_for(pipeline.process(source, tmp_path / "out.mkv"), 90)
    assert report.frames.encoded == FRAMES


async def test_slots_that_no_machine_has_are_a_clear_error(nodes: Any) -> None:
    wanted = two(device="cpu", cluster={"address": nodes.address, "cpus": 64})
    with pytest.raises(ConfigError, match="not one slot of 64"):
        async with connected(wanted):
            pass


async def test_an_address_where_nobody_is_is_a_clear_error() -> None:
    with pytest.raises(DeviceError, match=r"127\.0\.0\.1:1 cannot be reached"):
        async with connected(on("127.0.0.1:1")):
            pass


async def test_without_ray_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(ConfigError, match=r"sorawm-pipeline\[ray\]"):
        async with connected(on(cluster.LOCAL)):
            pass


async def test_without_an_address_there_is_no_cluster() -> None:
    async with connected(on(None)) as hands:
        assert hands is None


async def test_a_daemon_has_its_clips_done_on_the_cluster(
    nodes: Any, house: House, tmp_path: Path
) -> None:
    source = CLIP.write(tmp_path / "in.mkv")
    whole = two(pieces={"length_s": 0})
    await Pipeline(whole).process(source, tmp_path / "one.mkv")
    wanted = on(nodes.address).model_dump(mode="json", exclude_unset=True)
    async with house.daemon(program=PROGRAM, workers=2, patience_s=120, more=wanted):
        (house.inbox / "in.mkv").hardlink_to(source)
        ended = await house.ended("in.mkv")
    assert ended.state is JobState.DONE
    with Ledger(house.folder / "ledger.sqlite3") as ledger:
        job = ledger.job(ended.id)
    assert job is not None
    pieces = json.loads(job.report or "{}")["pieces"]
    assert (pieces["pieces"], pieces["restored"]) == (5, 5)
    assert same_pictures(tmp_path / "one.mkv", house.outbox / "in.mkv")


async def test_a_daemon_whose_cluster_is_away_waits_and_says_why(house: House) -> None:
    wanted = on("127.0.0.1:1").model_dump(mode="json", exclude_unset=True)
    async with house.daemon(program=PROGRAM, workers=1, more=wanted) as daemon:
        CLIP.write(house.inbox / "in.mkv")
        while not daemon.status().paused:
            await house.turn()
        (reason,) = daemon.status().paused.values()
        assert "127.0.0.1:1 cannot be reached" in reason
    assert [job.state for job in house.jobs()] == [JobState.WAITING]
