from __future__ import annotations

from fractions import Fraction
from typing import Any

import av
from av.packet import Packet
from hypothesis import given
from hypothesis import strategies as st

from sorawm_pipeline.media.frame_clock import FrameClock, steady_rate

TICK = Fraction(1, 90_000)


def packet(number: int, decoded: int) -> Packet[Any]:
    made: Packet[Any] = Packet(1)
    made.pts, made.dts = number, decoded
    return made


@given(st.lists(st.integers(1, 5_000), min_size=3, max_size=40), st.integers(0, 10**9))
def test_every_packet_gets_its_picture_s_time(gaps: list[int], start: int) -> None:
    clock = FrameClock(Fraction(25), TICK)
    times = [start]
    for gap in gaps:
        times.append(times[-1] + gap)
    got: dict[int, tuple[int, int | None]] = {}
    decoded: list[int] = []

    def come(number: int) -> None:
        done = packet(number, len(decoded) - 1)
        clock.restore(done)
        assert done.pts is not None
        assert done.dts is not None
        got[number] = done.pts, done.duration
        decoded.append(done.dts)

    for number, pts in enumerate(times):
        picture = av.VideoFrame(16, 16, "yuv420p")
        picture.pts, picture.duration = pts, number + 7
        clock.number(picture)
        assert (picture.pts, picture.time_base) == (number, Fraction(1, 25))
        if number == 0:
            come(0)
        elif number % 2 == 0:  # a B-frame between two others
            come(number)
            come(number - 1)
    assert all(got[number] == (times[number], number + 7) for number in got)
    assert decoded == sorted(decoded)
    assert all(dts <= got[n][0] for dts, n in zip(decoded, sorted(got), strict=True))


def test_rates_that_a_stream_can_name() -> None:
    assert steady_rate("mpeg2video", Fraction(30_000, 1001)) == Fraction(30_000, 1001)
    assert steady_rate("mpeg1video", Fraction(12)) == Fraction(24_000, 1001)
    assert steady_rate("mpeg4", Fraction(12)) == 12
    assert steady_rate("mpeg4", Fraction(999_983, 40_000)) == 25
