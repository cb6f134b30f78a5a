"""The contact sheet: a few telling frames, and below them when each mark is there."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC
from pathlib import Path, PurePath

from PIL import Image, ImageDraw
from PIL.PngImagePlugin import PngInfo

from sorawm_pipeline.media import xmp
from sorawm_pipeline.media.clip import ClipInfo, Limits
from sorawm_pipeline.media.provenance import Edit, SourceProvenance, container_tags
from sorawm_pipeline.media.target import write_error
from sorawm_pipeline.preview.drawing import (
    FAINT,
    FILLED,
    INK,
    PAPER,
    TimeLine,
    Viewer,
    draw_legend,
    draw_marks,
    font,
    label,
)
from sorawm_pipeline.preview.findings import Findings
from sorawm_pipeline.report import FrameMark

TILES = 15
EVEN_TILES = 6
JUMP_FRAMES = 5
"""A mark that comes within as many frames after another one went has jumped."""
TILE_AREA = 110_000
SHEET_WIDTH = 1600
MARGIN, LETTERS, TITLE = 14, 15, 22
STRIP = 34
CAPTION = 2 * LETTERS + 14


def write_sheet(
    clip: ClipInfo,
    limits: Limits,
    findings: Findings,
    path: Path,
    edit: Edit,
    origin: SourceProvenance,
) -> None:
    """Write the sheet as PNG; its text chunks say what it is and where the picture came from.

    Raises:
        InputError: the clip cannot be read, or is not the one that was reported on.
        OutputError: the disk refuses.
    """
    sheet = compose(clip, limits, findings)
    try:
        sheet.save(path, "PNG", pnginfo=_statements(edit, origin))
    except OSError as error:
        raise write_error(path, error) from error


def compose(clip: ClipInfo, limits: Limits, findings: Findings) -> Image.Image:
    """The sheet as a picture. Raises InputError as `write_sheet`."""
    chosen, left_out = telling(findings)
    width, height = findings.report.width, findings.report.height
    tile_width, tile_height = _tile_size(width, height)
    viewer = Viewer(clip, tile_width, tile_height)
    tiles = []
    if chosen:
        for frame in findings.pictures(clip, limits):
            if frame.index in chosen:
                tile = viewer.picture(frame)
                draw_marks(tile, findings.marks(frame.index), LETTERS, tile_width / width)
                tiles.append((frame.index, tile))
                if len(tiles) == len(chosen):
                    break
    columns: int = max(1, min(len(tiles), (SHEET_WIDTH - MARGIN) // (tile_width + MARGIN)))
    rows = -(-len(tiles) // columns)
    inner = max(columns * (tile_width + MARGIN) - MARGIN, SHEET_WIDTH // 2)
    row_height = tile_height + CAPTION
    top = 2 * MARGIN + TITLE + LETTERS + MARGIN
    under = top + rows * (row_height + MARGIN)
    size = (inner + 2 * MARGIN, under + STRIP + 3 * LETTERS + MARGIN)
    sheet = Image.new("RGB", size, PAPER)
    pen = ImageDraw.Draw(sheet)
    _title(pen, findings, left_out, inner)
    for place, (index, tile) in enumerate(tiles):
        x = MARGIN + place % columns * (tile_width + MARGIN)
        y = top + place // columns * (row_height + MARGIN)
        sheet.paste(tile, (x, y))
        _caption(pen, findings, index, chosen[index], x, y + tile_height + 4, tile_width)
    line = TimeLine(findings, inner)
    sheet.paste(line.draw(STRIP), (MARGIN, under))
    line.draw_ticks(sheet, MARGIN, under + STRIP, LETTERS)
    for index in chosen:
        at = MARGIN + line.x(index)
        pen.polygon([(at - 4, under - 7), (at + 4, under - 7), (at, under - 1)], fill=INK)
    return sheet


def telling(findings: Findings) -> tuple[dict[int, str], int]:
    """Frames worth a look, in order, each with the reason; and how many more there were.

    What comes first is kept first: frames where a mark appears, the last ones before it goes, blank
    ones between, filled ones, and (not counted where left out) middles. Where there are too many of
    a kind, evenly spread ones stay.
    """
    spans, count = findings.spans, findings.count
    firsts, lasts = {span.first for span in spans}, {span.last for span in spans}
    if not spans:
        even = sorted({(2 * k + 1) * count // (2 * EVEN_TILES) for k in range(EVEN_TILES)})
        return dict.fromkeys(even if count else [], ""), 0
    kinds = [
        {span.first: _arrival(span.first, lasts) for span in spans},
        {span.last: _departure(span.last, firsts, count) for span in spans},
        _stretches(findings, _has_no_mark, "no mark"),
        _stretches(findings, _is_filled, "filled in"),
        {(span.first + span.last) // 2: "in between" for span in spans},
    ]
    chosen: dict[int, str] = {}
    for kind in kinds:
        new = sorted(kind.keys() - chosen.keys())
        chosen |= {index: kind[index] for index in _spread(new, TILES - len(chosen))}
    left_out = set().union(*kinds[:-1]) - chosen.keys()
    return dict(sorted(chosen.items())), len(left_out)


def _arrival(first: int, lasts: set[int]) -> str:
    if first == 0:
        return "there from the start"
    jumped = not lasts.isdisjoint(range(first - JUMP_FRAMES, first))
    return "after a jump" if jumped else "a mark appears"


def _departure(last: int, firsts: set[int], count: int) -> str:
    if last == count - 1:
        return "there to the end"
    jumps = not firsts.isdisjoint(range(last + 1, last + 1 + JUMP_FRAMES))
    return "before a jump" if jumps else "last one before it goes"


def _stretches(
    findings: Findings, belongs: Callable[[Sequence[FrameMark]], bool], why: str
) -> dict[int, str]:
    """The middle frame of each stretch of frames whose marks belong to it."""
    found = {}
    start = 0
    for index in range(findings.count + 1):
        if index == findings.count or not belongs(findings.marks(index)):
            if index > start:
                found[(start + index - 1) // 2] = why
            start = index + 1
    return found


def _has_no_mark(marks: Sequence[FrameMark]) -> bool:
    return not marks


def _is_filled(marks: Sequence[FrameMark]) -> bool:
    return any(mark.origin == "filled" for mark in marks)


def _spread(indices: Sequence[int], room: int) -> list[int]:
    if len(indices) <= room:
        return list(indices)
    return [indices[k * len(indices) // room] for k in range(room)]


def _tile_size(width: int, height: int) -> tuple[int, int]:
    scale = min((TILE_AREA / (width * height)) ** 0.5, 4)
    scale = min(scale, (SHEET_WIDTH - 2 * MARGIN) / max(width, height))
    return max(16, round(width * scale)), max(16, round(height * scale))


def _title(pen: ImageDraw.ImageDraw, findings: Findings, left_out: int, inner: int) -> None:
    report = findings.report
    end = draw_legend(pen, MARGIN + inner, MARGIN + 2, LETTERS)
    name = _fitted(pen, PurePath(report.input).name, TITLE, end - 2 * MARGIN)
    pen.text((MARGIN, MARGIN), name, fill=INK, font=font(TITLE))
    facts = f"{report.width}x{report.height}, {findings.count} frames, {findings.seconds[-1]:.2f} s"
    if findings.spans:
        places = len(findings.spans)
        facts += f" | marked: {findings.marked} frames, {places} place{'s' * (places > 1)}"
    if left_out:
        facts += f" | {left_out} more telling frames not shown"
    y = 2 * MARGIN + TITLE - 4
    pen.text((MARGIN, y), facts, fill=FAINT, font=font(LETTERS))
    if not findings.spans:
        x = MARGIN + pen.textlength(facts + "  ", font=font(LETTERS))
        pen.text((x, y), "no marks found", fill=FILLED, font=font(LETTERS))


def _caption(
    pen: ImageDraw.ImageDraw, findings: Findings, index: int, why: str, x: int, y: int, width: int
) -> None:
    found = ", ".join(label(mark) for mark in findings.marks(index))
    first = f"frame {index}   {findings.seconds[index]:.3f} s   {found}"
    for line, colour in ((first, INK), (why, FAINT)):
        pen.text((x, y), _fitted(pen, line, LETTERS, width), fill=colour, font=font(LETTERS))
        y += LETTERS + 4


def _fitted(pen: ImageDraw.ImageDraw, text: str, size: float, width: float) -> str:
    """`text`, cut where it would be wider than `width` pixels."""
    text = text.replace("\n", " ")
    while len(text) > 1 and pen.textlength(text, font=font(size)) > width:
        text = text[:-2].rstrip(".") + "."
    return text


def _statements(edit: Edit, origin: SourceProvenance) -> PngInfo:
    source_type = origin.digital_source_type
    info = PngInfo()
    info.add_text("Software", edit.software)
    info.add_itxt("Comment", container_tags(origin, edit, source_type)["comment"])
    packet = xmp.extended(
        None,
        software=edit.software,
        description=edit.description,
        when=edit.when.astimezone(UTC).isoformat(timespec="seconds"),
        digital_source_type=source_type,
    )
    info.add_itxt("XML:com.adobe.xmp", packet)
    return info
