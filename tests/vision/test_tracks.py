from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sorawm_pipeline.media.frame import Box, Mark
from sorawm_pipeline.vision.tracks import CONFIRMATIONS, Marks, Tracks

WINDOW = 5
BELIEVE = 0.5
PLACES = (Box(30, 110, 180, 160), Box(520, 610, 670, 660), Box(30, 1110, 180, 1160))


def follow(sightings: list[Marks], window: int = WINDOW) -> list[Marks]:
    tracks = Tracks(window, BELIEVE)
    decided = [marks for seen in sightings for marks in tracks.push(seen)]
    assert len(decided) == max(0, len(sightings) - tracks.delay)
    return decided + tracks.flush()


def seen(*boxes: Box) -> Marks:
    return [Mark(box, 0.8) for box in boxes]


def shifted(box: Box, dx: int, dy: int) -> Box:
    return Box(box.x0 + dx, box.y0 + dy, box.x1 + dx, box.y1 + dy)


def jumping(frames: int, run: int = 66, blank: int = 1) -> list[Box | None]:
    """Where the mark is on each frame: `run` frames in a place, then `blank` without."""
    return [
        PLACES[index // (run + blank) % 3] if index % (run + blank) < run else None
        for index in range(frames)
    ]


def test_perfect_sightings_come_back_as_they_are() -> None:
    truth = jumping(300)
    assert [
        [m.box for m in marks] for marks in follow([seen(*filter(None, [b])) for b in truth])
    ] == [[box] if box else [] for box in truth]


def test_a_blank_frame_between_two_places_stays_blank() -> None:
    marks = follow([seen(*filter(None, [box])) for box in jumping(140)])
    assert marks[66] == []
    assert marks[133] == []


@settings(max_examples=60, deadline=None)
@given(
    runs=st.lists(st.tuples(st.sampled_from(PLACES), st.integers(8, 40)), min_size=1, max_size=5),
    missed=st.sets(st.integers(0, 200), max_size=25),
    wobble=st.integers(0, 2**32),
)
def test_gaps_in_a_run_are_filled_and_never_across_a_jump(
    runs: list[tuple[Box, int]], missed: set[int], wobble: int
) -> None:
    truth = [box for box, length in runs for _ in range(length)]
    sightings = [
        []
        if index in missed
        else seen(shifted(box, (wobble >> index % 32 & 1), -(wobble >> (index + 7) % 32 & 1)))
        for index, box in enumerate(truth)
    ]
    for index, marks in enumerate(follow(sightings)):
        assert all(mark.box.iou(truth[index]) > 0.85 for mark in marks), "a box in a wrong place"
        assert len(marks) <= 1
        around = range(max(0, index - 3), min(len(truth), index + 4))
        confirmed = [i for i in around if i not in missed and truth[i] == truth[index]]
        before = [i for i in confirmed if i < index]
        after = [i for i in confirmed if i > index]
        if len(confirmed) > 2 * CONFIRMATIONS and before and after:
            assert marks, "seen on both sides, so it is there"
            assert marks[0].filled == (index in missed)


@given(at=st.integers(10, 50), dx=st.integers(-300, 300), dy=st.integers(-300, 300))
def test_a_single_frame_with_a_wrong_box_is_mended(at: int, dx: int, dy: int) -> None:
    box = shifted(PLACES[1], 0, 0)
    wrong = shifted(box, dx, dy)
    sightings = [seen(wrong if index == at else box) for index in range(60)]
    marks = follow(sightings)
    if box.iou(wrong) < 0.5:
        assert marks[at] == [Mark(box, 0.8, filled=True)]
    assert all(len(found) == 1 and found[0].box.iou(box) > 0.9 for found in marks)


@settings(max_examples=40, deadline=None)
@given(steps=st.lists(st.tuples(st.integers(-2, 2), st.integers(-2, 2)), min_size=20, max_size=120))
def test_a_wandering_mark_is_followed(steps: list[tuple[int, int]]) -> None:
    box, truth = PLACES[1], []
    for dx, dy in steps:
        box = shifted(box, dx, dy)
        truth.append(box)
    for found, place in zip(follow([seen(box) for box in truth]), truth, strict=True):
        assert len(found) == 1
        assert found[0].box.iou(place) > 0.6


@given(st.integers(0, 2**32))
def test_boxes_keep_still_within_a_run(noise: int) -> None:
    sightings = [
        seen(shifted(PLACES[0], noise >> i % 32 & 1, noise >> (i + 5) % 32 & 1)) for i in range(66)
    ]
    assert len({mark.box for marks in follow(sightings) for mark in marks}) == 1


def test_two_marks_at_once_are_two_tracks() -> None:
    sightings = [seen(*PLACES[:2]) for _ in range(30)]
    sightings[10] = seen(PLACES[1])
    sightings[11] = seen(PLACES[0])
    for marks in follow(sightings):
        assert {mark.box for mark in marks} == set(PLACES[:2])


def test_one_mark_seen_twice_is_one() -> None:
    sightings = [[Mark(PLACES[0], 0.9), Mark(shifted(PLACES[0], 3, 1), 0.6)] for _ in range(20)]
    assert all([mark.box for mark in marks] == [PLACES[0]] for marks in follow(sightings))


def test_doubtful_sightings_count_only_beside_two_sure_ones() -> None:
    doubtful = [Mark(PLACES[0], 0.2)]
    assert follow([doubtful] * 30) == [[]] * 30
    assert follow([doubtful] * 10 + [seen(PLACES[0])] + [doubtful] * 10) == [[]] * 21
    marks = follow([doubtful] * 10 + [seen(PLACES[0])] * 2 + [doubtful] * 10)
    assert [index for index, found in enumerate(marks) if found] == list(range(8, 14))


def test_a_mark_of_a_known_size_is_believed_from_less() -> None:
    """Once the clip has shown it, what is seen doubtfully in its size elsewhere is the mark."""
    known, other = PLACES[1], Box(520, 610, 620, 660)
    for place, believed in ((known, True), (other, False)):
        marks = follow([seen(PLACES[0])] * 20 + [[]] * 3 + [[Mark(place, 0.35)]] * 20)
        assert all(bool(found) == believed for found in marks[23:])
    assert not any(follow([[Mark(known, 0.35)]] * 20))


@given(st.integers(1, 12), st.integers(1, 8))
def test_a_gap_is_filled_as_a_whole_or_not_at_all(gap: int, window: int) -> None:
    sightings = [[] if 20 <= i < 20 + gap else seen(PLACES[1]) for i in range(60)]
    filled = [index for index, marks in enumerate(follow(sightings, window)) if marks]
    assert len(filled) == (60 if gap <= 2 * window - 1 else 60 - gap)


@pytest.mark.parametrize("length", [3, 5, 8])
def test_a_mark_of_a_few_frames_is_found(length: int) -> None:
    sightings = [seen(PLACES[2]) if 20 <= i < 20 + length else [] for i in range(50)]
    marked = [index for index, marks in enumerate(follow(sightings)) if marks]
    assert marked == list(range(20, 20 + length))


def test_an_icon_that_stays_when_its_word_has_gone_is_kept_with_its_own_box() -> None:
    icon = Box(PLACES[0].x0, PLACES[0].y0 + 4, PLACES[0].x0 + 50, PLACES[0].y1 + 4)
    sightings = [seen(PLACES[0])] * 20 + [seen(icon)] * 2 + [[]] + [seen(PLACES[1])] * 20
    boxes = [[mark.box for mark in marks] for marks in follow(sightings)]
    assert boxes == [[PLACES[0]]] * 20 + [[icon]] * 2 + [[]] + [[PLACES[1]]] * 20


@pytest.mark.parametrize("small", [True, False])
def test_a_part_is_all_there_is_where_a_run_begins_or_ends_with_it(small: bool) -> None:
    whole = Box(384, 166, 462, 194)
    part = Box(384, 166, 425 if small else 450, 194)
    for sightings in ([part] * 2 + [whole] * 20, [whole] * 20 + [part] * 2):
        boxes = [marks[0].box for marks in follow([seen(box) for box in sightings])]
        assert boxes == sightings if small else set(boxes) == {whole}


def test_a_part_seen_for_two_frames_inside_a_run_is_a_slip() -> None:
    whole, part = Box(384, 166, 462, 194), Box(384, 166, 425, 194)
    sightings = [whole] * 12 + [part] * 2 + [whole] * 12
    assert {marks[0].box for marks in follow([seen(box) for box in sightings])} == {whole}


@given(st.integers(5, 24), st.integers(0, 90), st.integers(0, 90))
def test_a_part_seen_on_one_frame_of_a_run_is_completed(at: int, left: int, width: int) -> None:
    whole = PLACES[0]
    part = Box(whole.x0 + left, whole.y0, min(whole.x1, whole.x0 + left + width + 8), whole.y1)
    sightings = [[Mark(part, 0.3)] if i == at else seen(whole) for i in range(30)]
    boxes = [[mark.box for mark in marks] for marks in follow(sightings)]
    assert all(len(found) == 1 and found[0].iou(whole) >= 0.5 for found in boxes)


def test_a_gap_is_filled_but_for_frames_whose_pixels_show_that_the_mark_is_gone() -> None:
    tracks = Tracks(WINDOW, BELIEVE)
    gone = {12: [PLACES[0]], 13: [PLACES[0], PLACES[1]], 14: [PLACES[1]]}
    decided = [
        marks
        for i in range(30)
        for marks in tracks.push([] if 11 <= i < 16 else seen(PLACES[0]), gone.get(i, []))
    ] + tracks.flush()
    assert [i for i, marks in enumerate(decided) if not marks] == [12, 13]


@pytest.mark.parametrize("frames", [1, 2, 3])
def test_the_shortest_clips_keep_their_marks(frames: int) -> None:
    assert all(len(marks) == 1 for marks in follow([seen(PLACES[0])] * frames))


@given(st.integers(0, 12), st.integers(0, 40))
def test_one_list_for_each_frame_and_the_delay_is_exact(window: int, frames: int) -> None:
    tracks = Tracks(window, BELIEVE)
    out = 0
    for index in range(frames):
        out += len(tracks.push([]))
        assert out == max(0, index + 1 - tracks.delay)
    assert out + len(tracks.flush()) == frames
