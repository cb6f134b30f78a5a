"""The whole clip with its marks drawn in, frame by frame; never more than a few in memory."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import av
import numpy as np
from av.video.reformatter import ColorRange, Colorspace, VideoReformatter
from PIL import Image, ImageDraw

from sorawm_pipeline.media.clip import ClipInfo, Colour, Limits
from sorawm_pipeline.media.display import Display
from sorawm_pipeline.media.encoders import ENCODERS, MUXER_OF_SUFFIX
from sorawm_pipeline.media.frame import Frame
from sorawm_pipeline.media.planes import layout_of
from sorawm_pipeline.media.provenance import Edit, SourceProvenance, container_tags
from sorawm_pipeline.preview.drawing import (
    INK,
    PAPER,
    TimeLine,
    Viewer,
    draw_legend,
    draw_marks,
    font,
)
from sorawm_pipeline.preview.findings import Findings
from sorawm_pipeline.stages.encode import Encode, EncodeSettings

CRF, PRESET = 23, "veryfast"
BT709 = 1
LEGEND_ROOM = 24
"""Widths of a letter from which the legend has room beside the frame's number."""
PIXELS = "yuv420p"


def write_film(
    clip: ClipInfo,
    limits: Limits,
    findings: Findings,
    path: Path,
    edit: Edit,
    origin: SourceProvenance,
) -> None:
    """Write an upright H.264 video of square pixels, with the clip's own time stamps and sound.

    Raises:
        InputError: the clip cannot be read, or is not the one that was reported on.
        OutputError: the disk refuses.
        DeviceError: the encoder refuses, as for a picture that is too large.
    """
    canvas = Canvas(clip, findings)
    drawn = replace(
        clip,
        display=Display(canvas.width, canvas.height),
        layout=layout_of(PIXELS),
        pixel_format=PIXELS,
        colour=Colour(BT709, BT709, BT709, int(ColorRange.MPEG)),
        sample_aspect_tagged=None,
        display_matrix=None,
    )
    settings = EncodeSettings(
        choice=ENCODERS["h264"],
        muxer=MUXER_OF_SUFFIX[path.suffix.lower()],
        preset=PRESET,
        crf=CRF,
        tags=container_tags(origin, edit, origin.digital_source_type),
    )
    encode = Encode(drawn, limits, path, settings, max_cap=1)
    try:
        encode.open()
        for frame in findings.pictures(clip, limits):
            frame.picture = canvas.picture(frame)
            encode.process([frame])
        encode.flush()
    finally:
        encode.close()


class Canvas:
    """The upright picture with boxes, and a bar below it: frame, time, legend, time line.

    Attributes:
        width, height: of the whole, even numbers of pixels as H.264 wants them.
    """

    def __init__(self, clip: ClipInfo, findings: Findings) -> None:
        self._scaler = VideoReformatter()
        self._findings = findings
        self._size = findings.report.width, findings.report.height
        self._viewer = Viewer(clip, *self._size)
        self._letters = min(40, max(11, min(self._size) // 36))
        self._rail = self._letters
        self.width = self._size[0] + self._size[0] % 2
        height = self._size[1] + 2 * self._letters + self._rail
        self.height = height + height % 2
        self._line = TimeLine(findings, self.width)
        self._bar = self._empty_bar()

    def picture(self, frame: Frame) -> av.VideoFrame:
        """The frame as it is to be encoded, 8-bit 4:2:0 BT.709."""
        whole = Image.new("RGB", (self.width, self.height))
        picture = self._viewer.picture(frame)
        draw_marks(picture, self._findings.marks(frame.index), self._letters)
        whole.paste(picture)
        whole.paste(self._bar, (0, self._size[1]))
        pen = ImageDraw.Draw(whole)
        words = f"frame {frame.index}   {self._findings.seconds[frame.index]:.3f} s"
        y = self._size[1] + self._letters * 0.3
        pen.text((self._letters / 2, y), words, fill=INK, font=font(self._letters))
        x = self._line.x(frame.index)
        pen.line((x, self.height - self._rail, x, self.height), fill=INK, width=2)
        result = av.VideoFrame.from_ndarray(np.asarray(whole), format="rgb24")
        return self._scaler.reformat(
            result,
            format=PIXELS,
            dst_colorspace=Colorspace.ITU709,
            dst_color_range=ColorRange.MPEG,
        )

    def _empty_bar(self) -> Image.Image:
        bar = Image.new("RGB", (self.width, self.height - self._size[1]), PAPER)
        pen = ImageDraw.Draw(bar)
        if self.width > LEGEND_ROOM * self._letters:
            draw_legend(pen, self.width - self._letters / 2, self._letters * 0.3, self._letters)
        bar.paste(self._line.draw(self._rail), (0, bar.height - self._rail))
        return bar
