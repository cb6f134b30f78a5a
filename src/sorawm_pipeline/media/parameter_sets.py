"""Parameter sets of H.264 and HEVC: how they are framed and numbered, and how to renumber ours.

A decoder keeps parameter sets by number. Where pictures of two encoders follow each other in one
stream, sets with different numbers can all stand in the container's header, and no packet of
either needs any other. Nothing here decodes a picture.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from sorawm_pipeline.snapshot import value

Codec = Literal["h264", "hevc"]

_START = re.compile(rb"\x00{2,}\x01")
_TO_ESCAPE = re.compile(rb"\x00\x00(?=[\x00-\x03])")
_HEAD = 32
"""Bytes at the front of a unit that are looked at or changed."""

_KINDS = {"h264": {7: "sps", 8: "pps"}, "hevc": {32: "vps", 33: "sps", 34: "pps"}}
_IDR = {"h264": {5}, "hevc": {19, 20}}
_DELIMITER = {"h264": 9, "hevc": 35}


H264_PROFILES = {66: "baseline", 77: "main", 100: "high", 110: "high10", 122: "high422"}
"""Numbers of profiles, each of which covers the ones before, and x264's names."""


class Unfit(Exception):  # noqa: N818 - a verdict on a stream, said in the report
    """Why packets of a stream cannot stand beside re-encoded ones; a half sentence."""


@value
@dataclass(frozen=True, slots=True)
class Numbers:
    """Numbers for the parameter sets of one encoder; `vps` is unused in H.264."""

    sps: int
    pps: int
    vps: int = 0


def unit_type(codec: Codec, unit: bytes) -> int:
    return unit[0] & 0x1F if codec == "h264" else unit[0] >> 1 & 0x3F


def is_idr(codec: Codec, units: Iterable[bytes]) -> bool:
    """Whether one of the units is a slice of a picture at which decoding starts afresh."""
    return any(unit_type(codec, unit) in _IDR[codec] for unit in units)


def delimited(codec: Codec, units: Sequence[bytes]) -> bool:
    """Whether the first unit is an access unit delimiter."""
    return bool(units) and unit_type(codec, units[0]) == _DELIMITER[codec]


def parameter_sets(codec: Codec, units: Iterable[bytes]) -> list[bytes]:
    return [unit for unit in units if unit_type(codec, unit) in _KINDS[codec]]


def length_size(codec: Codec, header: bytes) -> int | None:
    """Bytes of the length before each unit, by the container's codec header; None for start codes.

    Raises:
        Unfit: the header is no avcC, hvcC or Annex B.
    """
    if header.startswith((b"\0\0\1", b"\0\0\0\1")):
        return None
    if header[:1] != b"\1" or len(header) < (7 if codec == "h264" else 23):
        raise Unfit("the container does not hold the codec's parameter sets")
    return header[4 if codec == "h264" else 21] % 4 + 1


def split(data: bytes, size: int | None) -> list[bytes]:
    """The units of a packet, framed by lengths of `size` bytes or, if None, by start codes.

    Raises:
        Unfit: the lengths do not add up.
    """
    if size is None:
        return [unit.rstrip(b"\0") for unit in _START.split(data) if unit.rstrip(b"\0")]
    units, at = [], 0
    while at + size < len(data):
        end = at + size + int.from_bytes(data[at : at + size])
        if end > len(data):
            raise Unfit("a packet is damaged")
        if end > at + size:
            units.append(data[at + size : end])
        at = end
    return units


def join(units: Iterable[bytes], size: int | None) -> bytes:
    """The reverse of `split`."""
    if size is None:
        return b"".join(b"\0\0\0\1" + unit for unit in units)
    return b"".join(len(unit).to_bytes(size) + unit for unit in units)


def header_sets(codec: Codec, header: bytes) -> list[bytes]:
    """The parameter sets in a container's codec header.

    Raises:
        Unfit: the header is damaged.
    """
    if length_size(codec, header) is None:
        return parameter_sets(codec, split(header, None))
    if codec == "h264":
        sets, _ = _avcc(header)
        return [unit for group in sets for unit in group]
    return parameter_sets(codec, (unit for _, group in _hvcc(header) for unit in group))


def free_numbers(codec: Codec, sets: Iterable[bytes]) -> Numbers:
    """Numbers that none of these sets has.

    Raises:
        Unfit: none is free, or a set is damaged.
    """
    taken: dict[str, set[int]] = {"vps": set(), "sps": set(), "pps": set()}
    for unit in sets:
        taken[_KINDS[codec][unit_type(codec, unit)]].add(_number(codec, unit))
    if codec == "h264":  # x264 gives both the same number
        both = _free(range(31, 0, -1), taken["sps"] | taken["pps"])
        return Numbers(both, both)
    # Numbers from 15 on are coded in nine bits where 0 takes one: what follows moves by a byte.
    return Numbers(
        _free((15,), taken["sps"]),
        _free(range(30, 14, -1), taken["pps"]),
        _free(range(15, 0, -1), taken["vps"]),
    )


def _free(candidates: Iterable[int], taken: set[int]) -> int:
    for number in candidates:
        if number not in taken:
            return number
    raise Unfit("the source uses up the numbers of parameter sets")


def _number(codec: Codec, unit: bytes) -> int:
    if len(unit) < 4:
        raise Unfit("a parameter set is damaged")
    head = _unescaped(unit[:_HEAD])
    kind = _KINDS[codec][unit_type(codec, unit)]
    if codec == "h264":
        return _exp_golomb(head, 32 if kind == "sps" else 8)
    if kind == "vps":
        return head[2] >> 4
    return _exp_golomb(head, 16 if kind == "pps" else _hevc_sps_number_at(head))


def _hevc_sps_number_at(head: bytes) -> int:
    if head[2] >> 1 & 7:
        raise Unfit("its HEVC has temporal sub-layers")
    return 15 * 8


def _exp_golomb(data: bytes, bit: int) -> int:
    bits = format(int.from_bytes(data), f"0{8 * len(data)}b")
    one = bits.find("1", bit)
    last = 2 * one - bit + 1
    if one < 0 or last > len(bits):
        raise Unfit("a parameter set is damaged")
    return int(bits[one:last], 2) - 1


def renumbered(unit: bytes, numbers: Numbers) -> bytes:
    """An HEVC unit whose sets are numbered 0, with the sets it is or refers to numbered anew.

    Raises:
        Unfit: its numbers are not 0.
    """
    kind = unit_type("hevc", unit)
    if kind > 34:
        return unit
    raw = _unescaped(unit)
    if kind in (32, 33):
        raw = raw[:2] + bytes([numbers.vps << 4 | raw[2] & 0xF]) + raw[3:]
    if kind == 33:
        raw = _renumber_at(raw, _hevc_sps_number_at(raw), numbers.sps)
    elif kind == 34:
        raw = _renumber_at(raw, 16, numbers.pps)
        raw = _renumber_at(raw, 16 + 9, numbers.sps)
    elif kind < 32:  # a slice: its first bits are one or two flags, and the number
        raw = _renumber_at(raw, 18 if 16 <= kind <= 23 else 17, numbers.pps)
    return raw[:2] + _escaped(raw[2:])


def _renumber_at(raw: bytes, bit: int, number: int) -> bytes:
    """Put nine bits in the place of the single one that codes 0."""
    head, total = int.from_bytes(raw[:_HEAD]), 8 * len(raw[:_HEAD])
    after = total - bit - 1
    if not head >> after & 1:
        raise Unfit("an encoder numbers its parameter sets in an unexpected way")
    value = (head >> after + 1 << 9 | number + 1) << after | head & (1 << after) - 1
    return value.to_bytes(total // 8 + 1) + raw[_HEAD:]


def _unescaped(unit: bytes) -> bytes:
    return unit.replace(b"\0\0\3", b"\0\0")


def _escaped(raw: bytes) -> bytes:
    escaped = _TO_ESCAPE.sub(b"\0\0\3", raw)
    return escaped + b"\3" if escaped.endswith(b"\0\0") else escaped


def merged_header(codec: Codec, header: bytes, ours: Sequence[bytes]) -> bytes:
    """A codec header (avcC or hvcC) with further parameter sets; Annex B is left as it is.

    Raises:
        Unfit: one header cannot describe both.
    """
    if length_size(codec, header) is None:
        return header
    return _merged_avcc(header, ours) if codec == "h264" else _merged_hvcc(header, ours)


def _avcc(header: bytes) -> tuple[tuple[list[bytes], list[bytes]], bytes]:
    """SPS, PPS and what follows them."""
    sps, at = _listed(header, 6, header[5] & 0x1F)
    if at >= len(header):
        raise Unfit("the container's codec header is damaged")
    pps, at = _listed(header, at + 1, header[at])
    return (sps, pps), header[at:]


def _merged_avcc(header: bytes, ours: Sequence[bytes]) -> bytes:
    (sps, pps), tail = _avcc(header)
    mine = [unit for unit in ours if unit_type("h264", unit) == 7]
    if not all(_within(unit[1], header[1]) for unit in mine):
        raise Unfit("its H.264 profile does not cover what its encoder here writes")
    sps += mine
    pps += [unit for unit in ours if unit_type("h264", unit) == 8]
    shared = header[2]
    for unit in mine:
        shared &= unit[2]
    level = max(header[3], *(unit[3] for unit in mine))
    return (
        bytes([1, header[1], shared, level, header[4], 0xE0 | len(sps)])
        + _list(sps)
        + bytes([len(pps)])
        + _list(pps)
        + tail
    )


def _within(profile: int, other: int) -> bool:
    """Whether a decoder of the other H.264 profile decodes what x264 writes in the first."""
    known = profile in H264_PROFILES and other in H264_PROFILES
    return profile == other or (known and profile < other)


def _hvcc(header: bytes) -> list[tuple[int, list[bytes]]]:
    """First byte (completeness and type) and units of each array."""
    arrays, at = [], 23
    for _ in range(header[22]):
        first, count = header[at : at + 1], int.from_bytes(header[at + 1 : at + 3])
        units, at = _listed(header, at + 3, count)
        arrays.append((int.from_bytes(first), units))
    return arrays


def _merged_hvcc(header: bytes, ours: Sequence[bytes]) -> bytes:
    arrays = _hvcc(header)
    level = header[12]
    for unit in ours:
        kind = unit_type("hevc", unit)
        if kind == 33:
            raw = _unescaped(unit[:_HEAD])
            if raw[3] != header[1]:
                raise Unfit("its HEVC profile or tier is another than its encoder here writes")
            level = max(level, raw[14])
        for first, units in arrays:
            if first & 0x3F == kind:
                units.append(unit)
                break
        else:
            raise Unfit("the container's codec header holds no parameter sets")
    body = b"".join(
        bytes([first]) + len(units).to_bytes(2) + _list(units) for first, units in arrays
    )
    return header[:12] + bytes([level]) + header[13:23] + body


def _listed(header: bytes, at: int, count: int) -> tuple[list[bytes], int]:
    units = []
    for _ in range(count):
        end = at + 2 + int.from_bytes(header[at : at + 2])
        if at + 2 >= end or end > len(header):
            raise Unfit("the container's codec header is damaged")
        units.append(header[at + 2 : end])
        at = end
    return units, at


def _list(units: Iterable[bytes]) -> bytes:
    return b"".join(len(unit).to_bytes(2) + unit for unit in units)
