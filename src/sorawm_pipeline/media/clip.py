"""Opening files that nobody vouches for, and what probing finds in them."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable, Iterable
from contextlib import closing
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path

import av
from av.buffer import Buffer
from av.codec.hwaccel import HWAccel
from av.container import InputContainer
from av.stream import Disposition
from av.video.stream import VideoStream

from sorawm_pipeline.config_sections import LimitsConfig
from sorawm_pipeline.errors import InputError
from sorawm_pipeline.media import claims
from sorawm_pipeline.media.claims import Checked
from sorawm_pipeline.media.display import Display
from sorawm_pipeline.media.extras import Extras
from sorawm_pipeline.media.planes import PLANAR_TWIN, PixelLayout, layout_of
from sorawm_pipeline.media.releases import TAG_DECODING
from sorawm_pipeline.media.wholeness import missing_bytes

ISO_FORMATS = {"mov", "mp4", "m4a", "3gp", "3g2", "mj2"}
NO_FORMAT = "none"


@dataclass(frozen=True, slots=True)
class Limits:
    """What is refused before a picture is decoded.

    Attributes:
        max_pixels: width times height of the video stream.
        max_seconds: duration that the container claims.
        formats: names of libav demuxers that may be used.
        codecs: names of video codecs that may be decoded; empty means every one.
    """

    max_pixels: int
    max_seconds: float
    formats: tuple[str, ...]
    codecs: tuple[str, ...] = ()

    @classmethod
    def of(cls, section: LimitsConfig) -> Limits:
        """From `decode.limits` of the configuration."""
        return cls(section.max_pixels, section.max_seconds, section.formats, section.codecs)


@dataclass(frozen=True, slots=True)
class Colour:
    """The stream's colour tags as libav numbers them; 2 means that the file does not say."""

    primaries: int
    transfer: int
    matrix: int
    range: int


@dataclass(frozen=True, slots=True)
class ClipInfo:
    """What probing found. Counts and durations are the container's claims, not facts.

    Attributes:
        path: absolute path of the file.
        format_name: libav's name of the container format.
        stream_index: index of the main video stream.
        codec: name of its codec, e.g. `h264`.
        display: stored size, orientation and sample aspect ratio.
        layout: pixel layout that the corridor works in.
        pixel_format: the format as decoded; differs from `layout.name` where it is converted
            without loss (packed or semi-planar formats).
        time_base: seconds per tick of every pts.
        average_rate: frames per second over the whole clip, or None; never used for timing.
        frames_claimed: number of frames the container claims, 0 when it does not say.
        seconds_claimed: its duration, or None.
        sample_aspect_tagged: the sample aspect ratio as the file states it, or None.
        display_matrix: the raw 36 bytes, or None.
        colour: tags to carry on.
        extras: what else is told of the picture.
        checked: the file when its claims were looked at.
    """

    path: Path
    format_name: str
    stream_index: int
    codec: str
    display: Display
    layout: PixelLayout
    pixel_format: str
    time_base: Fraction
    average_rate: Fraction | None
    frames_claimed: int
    seconds_claimed: float | None
    colour: Colour
    sample_aspect_tagged: Fraction | None = None
    display_matrix: bytes | None = field(default=None, repr=False)
    extras: Extras = field(default_factory=Extras)
    checked: Checked | None = None

    @property
    def width(self) -> int:
        return self.display.width

    @property
    def height(self) -> int:
        return self.display.height

    @property
    def counts_frames(self) -> bool:
        """Whether `frames_claimed` is an index of packets and not a guess in a header."""
        return self.format_name.startswith("mov,")


def open_clip(clip: ClipInfo, limits: Limits, hwaccel: HWAccel | None = None) -> InputContainer:
    """Open a clip that was probed once more; see `open_input`. Raises InputError: as that."""
    return open_input(clip.path, limits, hwaccel, clip.checked)


def open_input(
    path: Path,
    limits: Limits,
    hwaccel: HWAccel | None = None,
    checked: Checked | None = None,
) -> InputContainer:
    """Open a media file and nothing but that file.

    Only whitelisted container formats are tried and only the `file` protocol is allowed, so that a
    playlist or concat script under a harmless name opens nothing else.

    Args:
        path: the file.
        limits: which formats and how many pixels.
        hwaccel: what decodes.
        checked: the file when its claims were looked at; they are looked at again if it changed.

    Raises:
        InputError: the file is missing, unreadable, empty, or not a video we open; one sentence.
    """
    try:
        path = path.absolute()
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            raise InputError(f"{path} is not a regular file")
        if status.st_size == 0:
            raise InputError(f"{path} is empty (0 bytes); copy or export it again")
        opened: InputContainer = av.open(
            f"file:{path}",
            options={"max_pixels": str(limits.max_pixels), "threads": "1"},
            container_options=opening(path, limits.formats, checked),
            hwaccel=hwaccel,
            **TAG_DECODING,
        )
    except OSError as error:
        raise _unreadable(path, error) from error
    except MemoryError as error:
        raise InputError(f"{path} asks for more memory than there is", kind="too_large") from error
    except (av.error.InvalidDataError, av.error.ArgumentError) as error:
        raise InputError(
            f"{path} is not a video that can be opened: it is damaged, cut short, or of a format "
            "that is not in decode.limits.formats"
        ) from error
    except av.error.FFmpegError as error:
        raise InputError(f"{path} cannot be opened as video: {error.strerror}") from error
    except ValueError as error:
        raise InputError(f"{str(path)!a} is no file name: {error}") from error
    if len(opened.streams) > claims.MAX_STREAMS:
        with closing(opened):
            raise claims.too_many(path, len(opened.streams))
    return opened


def opening(path: Path, formats: Iterable[str], checked: Checked | None = None) -> dict[str, str]:
    """Options that let libav open this file alone, as one of these formats.

    Raises:
        InputError: its index claims what cannot be; libav would believe it.
    """
    allowed = set(formats)
    if claims.is_iso(path):
        if checked is None or checked != Checked.of(path):
            claims.check(path)
    else:
        allowed -= ISO_FORMATS  # or libav might read an index that nobody looked at
    return {
        "format_whitelist": ",".join(sorted(allowed)) or NO_FORMAT,
        "protocol_whitelist": "file",
        "max_streams": str(claims.MAX_STREAMS + 1),
    }


def _unreadable(path: Path, error: OSError) -> InputError:
    reasons = {
        errno.ENOENT: "does not exist",
        errno.EACCES: "may not be read (permission denied)",
        errno.EPERM: "may not be read (not permitted)",
        errno.EISDIR: "is a folder",
        errno.EIO: "cannot be read: the disk reports an error",
    }
    reason = reasons.get(error.errno or 0, f"cannot be read ({error.strerror or error})")
    return InputError(f"{path} {reason}")


def main_video(container: InputContainer, path: Path) -> VideoStream:
    """The stream to clean: the first real video, cover pictures aside.

    Raises:
        InputError: there is none (kind `no_video`).
    """
    for stream in container.streams.video:
        if not stream.disposition & Disposition.attached_pic:
            return stream
    what = "only sound" if container.streams.audio else "no video stream"
    raise InputError(f"{path} has {what}; there is no picture to clean", kind="no_video")


def probe(path: Path, limits: Limits) -> ClipInfo:
    """Open, check against the limits, and decode one frame to learn what only frames tell.

    Raises:
        InputError: kinds `unreadable`, `no_video`, `too_large`, `unsupported`.
    """
    checked = _as_it_is(path)
    with closing(open_input(path, limits)) as container:
        stream = main_video(container, path)
        if missing := missing_bytes(path):
            raise InputError(
                f"{path} is cut short: {missing} bytes are missing at its end; copy it again"
            )
        context = stream.codec_context
        if context is None:
            raise InputError(
                f"{path} holds video of a codec that this build cannot decode", kind="unsupported"
            )
        codec = context.codec.canonical_name
        if limits.codecs and codec not in limits.codecs:
            raise InputError(
                f"{path} holds {codec} video, which decode.limits.codecs does not allow",
                kind="unsupported",
            )
        _check_size(path, context.width, context.height, limits)
        seconds = _claimed_seconds(container, stream)
        if seconds is not None and seconds > limits.max_seconds:
            raise InputError(
                f"{path} claims to last {seconds:.0f} s, more than decode.limits.max_seconds "
                f"({limits.max_seconds:.0f} s)",
                kind="too_large",
            )
        if stream.frames > (length := path.stat().st_size):
            raise claims.impossible(path, stream.frames, length)
        picture = _first_picture(container, stream, path)
        _check_size(path, picture.width, picture.height, limits)
        matrix = _display_matrix(picture)
        sample_aspect = as_fraction(stream.sample_aspect_ratio)
        if not sample_aspect or sample_aspect <= 0:
            sample_aspect = None
        return ClipInfo(
            path=path.absolute(),
            format_name=container.format.name,
            stream_index=stream.index,
            codec=codec,
            display=Display.from_matrix(
                picture.width, picture.height, matrix, sample_aspect or Fraction(1)
            ),
            layout=layout_of(PLANAR_TWIN.get(picture.format.name, picture.format.name)),
            pixel_format=picture.format.name,
            time_base=as_fraction(stream.time_base) or Fraction(1, 90_000),
            average_rate=as_fraction(stream.average_rate),
            frames_claimed=stream.frames,
            seconds_claimed=seconds,
            colour=Colour(
                context.color_primaries,
                context.color_trc,
                context.colorspace,
                context.color_range,
            ),
            sample_aspect_tagged=sample_aspect,
            display_matrix=matrix,
            extras=Extras.of(stream, picture),
            checked=checked,
        )


def _as_it_is(path: Path) -> Checked | None:
    """A file before it is opened; None where there is none, of which opening it tells."""
    try:
        return Checked.of(path)
    except (OSError, ValueError):
        return None


def as_fraction(value: object) -> Fraction | None:
    """A libav rational as Fraction; None for absent or undefined (0/0) ones.

    PyAV 18 hands out Fraction or None, PyAV 19 its own rational whose zero is falsy.
    """
    numerator = getattr(value, "numerator", 0)
    denominator = getattr(value, "denominator", 0)
    return Fraction(numerator, denominator) if numerator and denominator else None


def _check_size(path: Path, width: int, height: int, limits: Limits) -> None:
    if width * height > limits.max_pixels:
        raise InputError(
            f"{path} is {width}x{height}, more than decode.limits.max_pixels "
            f"({limits.max_pixels}) allows",
            kind="too_large",
        )


def _claimed_seconds(container: InputContainer, stream: VideoStream) -> float | None:
    time_base = as_fraction(stream.time_base)
    if stream.duration and time_base:
        return float(stream.duration * time_base)
    return container.duration / 1_000_000 if container.duration else None


def _first_picture(container: InputContainer, stream: VideoStream, path: Path) -> av.VideoFrame:
    stream.thread_type = "SLICE"
    try:
        for packet in container.demux(stream):
            try:
                for picture in packet.decode():
                    return picture
            except av.error.InvalidDataError:
                continue  # streams cut out of a broadcast start with pictures nobody can decode
    except (av.error.FFmpegError, MemoryError) as error:
        raise InputError(f"{path} cannot be decoded: {error}") from error
    raise InputError(f"{path} holds no frame that can be decoded", kind="no_video")


def _display_matrix(picture: av.VideoFrame) -> bytes | None:
    matrix = picture.side_data.get("DISPLAYMATRIX")
    return bytes(matrix) if isinstance(matrix, Buffer) else None


def is_video(path: Path, limits: Limits) -> bool:
    """Whether the content opens as video, whatever the name; for walking folders."""
    try:
        with closing(open_input(path, limits)) as container:
            main_video(container, path)
    except InputError:
        return False
    return True


PathFilter = Callable[[Path], bool]


def find_videos(root: Path, accept: PathFilter) -> list[Path]:
    """Every accepted file below a folder, sorted; hidden ones and links to folders aside."""
    found = []
    for folder, folders, files in os.walk(root):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(files):
            path = Path(folder, name)
            if not name.startswith(".") and path.is_file() and accept(path):
                found.append(path)
    return found
