"""Pieces and clips in an object store: others see them, and all of it goes at the end."""

from __future__ import annotations

import tempfile
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sorawm_pipeline import Pipeline
from sorawm_pipeline.errors import ConfigError, DeviceError
from sorawm_pipeline.scheduling import STEPS, Limits
from sorawm_pipeline.segments.dispatch import Dispatch, serving
from sorawm_pipeline.segments.hands import Hands
from sorawm_pipeline.segments.object_store import Cache, ObjectStore, files_of
from sorawm_pipeline.segments.orders import Order, PieceDoer, Place
from sorawm_pipeline.segments.pieces import Task
from sorawm_pipeline.warm import WarmDetectors
from tests.clips import pictures
from tests.segments.test_hands import two
from tests.segments.test_pieces import CLIP

fsspec: Any = pytest.importorskip("fsspec", reason="fsspec is not installed")


@pytest.fixture(params=["memory", "file"])
def root(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """Where an object store begins."""
    if request.param == "file":
        yield f"file://{tmp_path}/bucket"
        return
    url = f"memory://{uuid.uuid4().hex}"
    yield url
    with_all = fsspec.filesystem("memory")
    if with_all.exists(url):
        with_all.rm(url, recursive=True)


def objects(root: str) -> list[str]:
    files = files_of(root)
    return [path.rpartition("/")[2] for path in files.find(root)] if files.exists(root) else []


def test_what_one_puts_others_get(root: str, tmp_path: Path) -> None:
    mine = ObjectStore(tmp_path / "mine", f"{root}/clip")
    theirs = ObjectStore(tmp_path / "theirs", f"{root}/clip")
    assert theirs.get("piece-1") is None
    draft = mine.draft()
    draft.write_bytes(b"packets")
    mine.put("piece-1", [1, 2], draft)
    assert theirs.get("piece-1") == [1, 2]
    assert theirs.packets("piece-1").read_bytes() == b"packets"
    with pytest.raises(DeviceError, match=r"piece-2.*disappeared"):
        theirs.packets("piece-2")
    assert not list((tmp_path / "theirs").glob("*.part"))


def test_a_clip_is_sent_once_and_again_when_it_has_changed(root: str, tmp_path: Path) -> None:
    clip = tmp_path / "a b.mp4"
    clip.write_bytes(b"film")
    mine, theirs = (ObjectStore(tmp_path / name, f"{root}/clip") for name in ("mine", "theirs"))
    name = mine.offer(clip, "key")
    assert theirs.reach(name).read_bytes() == b"film"
    clip.write_bytes(b"longer film")
    assert mine.offer(clip, "other") != name
    assert theirs.reach(mine.offer(clip, "other")).read_bytes() == b"longer film"
    theirs.forget()
    assert theirs.reach(name).read_bytes() == b"film"
    with pytest.raises(DeviceError, match="is not there"):
        theirs.reach(Path("source-none.mp4"))


def test_only_its_own_objects_go(root: str, tmp_path: Path) -> None:
    one, other = (ObjectStore(tmp_path / name, f"{root}/{name}") for name in ("one", "other"))
    for store in (one, other):
        store.put("find-old-1", 1)
        store.put("find-new-1", 2)
    one.prune(("find-new",))
    assert sorted(objects(f"{root}/one")) == ["find-new-1.npz"]
    assert len(objects(f"{root}/other")) == 2
    one.remove()
    one.remove()
    assert objects(f"{root}/one") == []
    assert other.get("find-old-1") == 1


def test_what_a_store_says_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = ObjectStore(tmp_path, "memory://nowhere")

    class Denied:
        def __getattr__(self, _: str) -> Callable[..., None]:
            def denied(*_: object, **__: object) -> None:
                raise PermissionError("403 Forbidden")

            return denied

    monkeypatch.setattr(store, "_files", Denied())
    for call in (lambda: store.put("a", 1), lambda: store.get("b"), lambda: store.prune(())):
        with pytest.raises(DeviceError, match=r"memory://nowhere cannot be reached.*403"):
            call()
    store.remove()


@pytest.mark.parametrize("url", ["nothing://a/b", "s9://bucket"])
def test_a_url_that_nobody_knows_is_a_clear_error(url: str) -> None:
    with pytest.raises(ConfigError, match=r"cluster\.store: .* cannot be used"):
        files_of(url)


def test_a_cache_goes_and_takes_what_killed_ones_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    left = tmp_path / "sorawm-fetched-killed"
    left.mkdir()
    (left / "lock").touch()
    first = Cache()
    first.store("memory://a").put("a", 1)
    second = Cache()
    assert not left.exists()
    assert len(list(tmp_path.glob("sorawm-fetched-*"))) == 2
    first.close()
    second.close()
    assert list(tmp_path.glob("sorawm-fetched-*")) == []


class Far:
    """A hand that knows of a clip what an order says, and has a disk of its own."""

    steps, alive = STEPS, True

    def __init__(self, doer: PieceDoer, detectors: WarmDetectors) -> None:
        self.orders: list[Order] = []
        self._doer = doer
        self._detectors = detectors

    async def do(self, place: Place, task: Task, tell: Callable[[int], None]) -> None:
        order = Order.model_validate_json(Order.of(place, task).model_dump_json())
        order = order.model_copy(update={"store": Path("/nowhere")})
        self.orders.append(order)
        (await self._doer.do(order, self._detectors, tell)).raised()


async def test_a_clip_is_cleaned_by_hands_that_share_only_the_store(
    root: str, tmp_path: Path
) -> None:
    config = two()
    source = CLIP.write(tmp_path / "in.mp4")
    whole = two(pieces={"length_s": 0})
    await Pipeline(whole).process(source, tmp_path / "one.mkv")
    doer, dispatch = PieceDoer(config), Dispatch(Limits())
    detectors = WarmDetectors(config, keep=True)
    far = Far(doer, detectors)
    try:
        async with serving([dispatch.serve(far)]):
            hands = Hands(dispatch, 1, every_clip=True, store=root)
            report = await Pipeline(config, hands).process(source, tmp_path / "far.mkv")
    finally:
        await detectors.close()
        doer.close()
    assert report.pieces is not None
    assert report.pieces.restored == 5
    assert {order.source.parent for order in far.orders} == {Path()}
    for there, here in zip(
        pictures(tmp_path / "one.mkv"), pictures(tmp_path / "far.mkv"), strict=True
    ):
        assert all(np.array_equal(*planes) for planes in zip(there, here, strict=True))
    assert objects(root) == []
    assert not list(tmp_path.glob(".sorawm*"))


async def test_a_store_that_fails_fails_the_clip_with_a_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> Path:
        raise DeviceError("memory://x cannot be reached: quota")

    monkeypatch.setattr(ObjectStore, "offer", full)
    source = CLIP.write(tmp_path / "in.mp4")
    hands = Hands(Dispatch(), 1, every_clip=True, store="memory://x")
    with pytest.raises(DeviceError, match="quota"):
        await Pipeline(two(), hands).process(source, tmp_path / "out.mkv")
    assert not (tmp_path / "out.mkv").exists()
