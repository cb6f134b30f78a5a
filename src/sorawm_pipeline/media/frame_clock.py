"""Exact times for encoders that only know a steady rate: MPEG-1, MPEG-2, MPEG-4 Part 2.

They count pictures; the container tells when each is shown. So they are given the picture's number
for its time, and packets get back the time that belongs to the number.
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from typing import Any

from av.packet import Packet
from av.video.frame import VideoFrame

RATES = tuple(
    Fraction(*rate)
    for rate in (
        *((24_000, 1001), (24, 1), (25, 1), (30_000, 1001), (30, 1)),
        *((50, 1), (60_000, 1001), (60, 1)),
    )
)
"""Frames per second that MPEG-1 and MPEG-2 have a code for."""

MOST_TICKS = 65_535
"""A second of MPEG-4 Part 2 is divided into no more."""

COUNTERS: dict[str, Sequence[Fraction]] = {
    "mpeg1video": RATES,
    "mpeg2video": RATES,
    "mpeg4": (),  # any
}
"""Encoders that count pictures, and the rates they take."""


def steady_rate(encoder: str, rate: Fraction) -> Fraction:
    """The rate nearest to a clip's that an encoder of `COUNTERS` takes."""
    offered = COUNTERS[encoder]
    if offered:
        return min(offered, key=lambda known: abs(known - rate))
    return rate if rate.numerator <= MOST_TICKS else Fraction(max(1, round(rate)))


class FrameClock:
    """Numbers for times, and back. Not thread-safe.

    Args:
        rate: pictures per second, as the encoder believes.
        time_base: seconds per tick of the true times.

    Attributes:
        time_base: seconds per number.
    """

    def __init__(self, rate: Fraction, time_base: Fraction) -> None:
        self.time_base = 1 / rate
        self._true_base = time_base
        self._step = max(1, round(1 / (rate * time_base)))
        self._shown: dict[int, tuple[int, int]] = {}
        self._first = 0
        self._count = 0

    def number(self, picture: VideoFrame) -> None:
        """Gives the next picture its number for its time, and one for how long it lasts."""
        assert picture.pts is not None
        if not self._count:
            self._first = picture.pts
        self._shown[self._count] = picture.pts, picture.duration
        picture.pts, picture.duration = self._count, 1
        picture.time_base = self.time_base
        self._count += 1

    def restore(self, packet: Packet[Any]) -> None:
        """Gives a packet its true times; to be called for each, in the order of the encoder."""
        number, decoded = packet.pts, packet.dts
        assert number is not None
        assert decoded is not None
        if decoded < 0:
            packet.dts = self._first + decoded * self._step
        else:
            packet.dts = self._shown[decoded][0]
        packet.pts, packet.duration = self._shown[number]
        packet.time_base = self._true_base
        for old in [n for n in self._shown if n < min(decoded, number)]:
            del self._shown[old]
