"""The table: containers, codecs and oddities, and what of each cannot be kept."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path

from sorawm_pipeline.media import hdr_boxes
from sorawm_pipeline.media.extras import Mastering
from tests.formats.writing import Sound, Text, Written, copied, ffmpeg, patched

Make = Callable[[Path], Path]
S = Fraction


@dataclass(frozen=True)
class Case:
    """One input.

    Attributes:
        name: its file name; the extension chooses the container.
        oddity: what is unusual about it, in words for the matrix.
        make: writes it.
        lost: what does not come out as it went in, and why.
        refused: for clips that are not cleaned, a part of the sentence that says so.
    """

    name: str
    oddity: str
    make: Make
    lost: dict[str, str]
    refused: str | None = None

    @property
    def container(self) -> str:
        return self.name.rsplit(".", 1)[1]


CASES: list[Case] = []


def case(name: str, oddity: str, make: Make, refused: str | None = None, **lost: str) -> None:
    CASES.append(Case(name, oddity, make, lost, refused))


ROTATED = (0, 65536, 0, -65536, 0, 0, 0, 0, 1 << 30)
UPSIDE_DOWN = (-65536, 0, 0, 0, -65536, 0, 0, 0, 1 << 30)
MIRRORED = (-65536, 0, 0, 0, 65536, 0, 0, 0, 1 << 30)
BFRAMES = {"preset": "fast", "bf": "3", "g": "30"}
MASTERING = "G(13250,34500)B(7500,3000)R(34000,16000)WP(15635,16450)L(10000000,50)"
HDR10 = {"x265-params": f"hdr10=1:repeat-headers=1:master-display={MASTERING}:max-cll=1000,400"}
PQ, HLG = (9, 16, 9, 1), (9, 18, 9, 1)
WORDS = [(S(0), S(1, 5), b"one"), (S(3, 10), S(1, 5), b"two")]
MOV_WORDS = [(at, lasting, len(b).to_bytes(2) + b) for at, lasting, b in WORDS]
STYLED = """[Script Info]
ScriptType: v4.00+
[V4+ Styles]
Format: Name, Fontname, Fontsize, PrimaryColour
Style: Default,Arial,20,&H00FFFFFF
[Events]
Format: Layer, Start, End, Style, Name, MarginL, MarginR, MarginV, Effect, Text
Dialogue: 0,0:00:00.00,0:00:00.20,Default,,0,0,0,,{\\i1}one
"""
SOUND = Sound()


def _aac_avi(path: Path) -> Path:
    """As libav writes an AVI from packets that are well timed."""
    clip = Written(options={"bf": "0"}, sounds=[SOUND])(path.with_suffix(".mp4"))
    ffmpeg("-i", clip, "-c", "copy", path)
    return path


# H.264
case("plain.mp4", "nothing", Written(sounds=[SOUND]))
case("plain.mov", "nothing", Written(sounds=[Sound("pcm_s16le")]))
case("plain.mkv", "nothing", Written(sounds=[Sound("flac")]))
case("plain.ts", "nothing", Written(sounds=[SOUND]))
case("plain.avi", "nothing", Written(options={"bf": "0"}, sounds=[Sound("libmp3lame")]))
case("aac.avi", "sound whose packets differ in size", _aac_avi)
case("bframes.mp4", "B-frames, negative dts, edit list", Written(options=BFRAMES, frames=25))
case("bframes.mkv", "B-frames", Written(options=BFRAMES, frames=25))
case("bframes.ts", "B-frames", Written(options=BFRAMES, frames=25))
case(
    "opengop.mp4",
    "open GOPs",
    Written(frames=30, options=BFRAMES | {"x264-params": "open-gop=1:keyint=8:min-keyint=8"}),
)
case(
    "fragmented.mp4",
    "fragments",
    Written(
        sounds=[SOUND],
        options={"g": "5"},
        muxing={"movflags": "frag_keyframe+empty_moov+default_base_moof"},
    ),
)
case(
    "vfr.mp4",
    "variable frame rate",
    Written(
        base=S(1, 600), pts=[0, 20, 45, 60, 100, 130, 131, 190, 220, 221, 260, 300, 333, 350, 400]
    ),
)
case(
    "vfr.mkv",
    "variable frame rate",
    Written(
        base=S(1, 1000), pts=[0, 33, 67, 100, 101, 180, 200, 240, 300, 301, 302, 350, 400, 450, 999]
    ),
)
case("film.mp4", "23.976 frames per second", Written(rate=S(24000, 1001)))
case("film.mkv", "23.976 frames per second, in milliseconds", Written(rate=S(24000, 1001)))
case(
    "fast.mov", "59.94 frames per second", Written(rate=S(60000, 1001), sounds=[Sound("pcm_s16le")])
)
case("base-90k.mp4", "time base 1/90000", Written(base=S(1, 90_000)))
case(
    "base-odd.mp4",
    "time base 1/12347",
    Written(base=S(1, 12_347), pts=[i * 411 + i % 3 for i in range(15)]),
)
case("base-coarse.mp4", "time base 1/7", Written(base=S(1, 7), rate=S(7)))
case("rotated.mp4", "rotated by 90 degrees", Written(matrix=ROTATED))
case("rotated.mov", "rotated by 180 degrees", Written(matrix=UPSIDE_DOWN))
case("mirrored.mp4", "mirrored", Written(matrix=MIRRORED))
case("rotated.mkv", "rotated by 90 degrees", Written(matrix=ROTATED))
case("anamorphic.mp4", "pixels 4:3", Written(aspect=S(4, 3)))
case("anamorphic.mkv", "pixels 64:45", Written(aspect=S(64, 45)))
case("anamorphic.ts", "pixels 16:15", Written(aspect=S(16, 15)))
case("bt601.mp4", "BT.601 tags", Written(colour=(6, 6, 6, 1)))
case(
    "bt709-full.mov",
    "BT.709 tags, full range",
    Written(colour=(1, 1, 1, 2), sounds=[Sound("pcm_s16le")]),
)
case("untagged.mkv", "no colour tags", Written())
case(
    "topleft.mp4",
    "chroma samples at the top left",
    Written(options={"chroma_sample_location": "topleft"}),
)
case("interlaced.mp4", "two fields, top first", Written(fields="tt", options={"preset": "fast"}))
case("interlaced.mkv", "two fields, bottom first", Written(fields="bb", options={"preset": "fast"}))
case("interlaced.ts", "two fields, top first", Written(fields="tt", options={"preset": "fast"}))
case("deep.mkv", "10 bits 4:2:2", Written(pixels="yuv422p10le"))
case("deep.mp4", "10 bits", Written(pixels="yuv420p10le"))
case("full-chroma.mp4", "4:4:4", Written(pixels="yuv444p"))
case("odd.mp4", "95x63, 4:4:4", Written(pixels="yuv444p", size=(95, 63)))
case("grey.mp4", "grey", Written(pixels="gray"))
case(
    "tracks.mp4",
    "three sound tracks, languages, dispositions, subtitles",
    Written(
        sounds=[
            Sound(language="eng", disposition=1),
            Sound(language="por", disposition=8, title="Director"),
            Sound("ac3", language="deu"),
        ],
        texts=[Text("mov_text", MOV_WORDS, language="fra")],
    ),
)
case(
    "tracks.mkv",
    "everything: sounds, subtitles, chapters, attachments, tags",
    Written(
        tags={"title": "A day out", "artist": "Nobody", "DATE": "2026"},
        labels={"title": "Camera A", "language": "jpn"},
        sounds=[
            Sound("flac", language="eng", title="Room"),
            Sound("libopus", language="por", disposition=8),
            Sound("ac3", language="deu"),
        ],
        texts=[
            Text("subrip", WORDS, language="fra", disposition=64),
            Text("subrip", WORDS, language="ita"),
        ],
        chapters=["Out", "Home"],
        attachments=[
            ("notes.txt", "text/plain", b"shot on a Sunday"),
            ("type.ttf", "application/x-truetype-font", bytes(range(256))),
        ],
    ),
)
case("chapters.mp4", "chapters", Written(chapters=["One", "Two"], sounds=[SOUND]))
case("cover.mp4", "a cover picture", Written(cover=True, sounds=[SOUND]))
case(
    "tags.mp4",
    "tags",
    Written(tags={"title": "A day out", "artist": "Nobody", "date": "2026", "genre": "Home"}),
)
case(
    "tags.mov",
    "QuickTime's own tags",
    Written(
        tags={
            "com.apple.quicktime.make": "Nobody",
            "com.apple.quicktime.location.ISO6709": "+52.5-013.4/",
        },
        muxing={"movflags": "use_metadata_tags"},
    ),
)
case(
    "picture-late.mp4", "the picture begins 0.2 s after the sound", Written(late=5, sounds=[SOUND])
)
case(
    "picture-late.mkv",
    "the picture begins 0.2 s after the sound",
    Written(late=5, sounds=[Sound("flac")]),
)
case(
    "sound-late.mp4",
    "the sound begins 0.3 s after the picture",
    Written(sounds=[Sound(later=S(3, 10))]),
)
case(
    "sound-late.ts",
    "the sound begins 0.3 s after the picture",
    Written(sounds=[Sound(later=S(3, 10))]),
)
case("late.ts", "everything begins at 10 s", Written(late=250, sounds=[Sound("mp2", later=S(10))]))


def _cut_in(path: Path) -> Path:
    """Copied from within a GOP: an edit list hides the first pictures."""
    whole = Written(options={"g": "30"}, frames=25, sounds=[SOUND])(path.with_stem("whole"))
    return copied(whole, path, moved=S(-1, 5))


def _no_duration(path: Path) -> Path:
    """Written as to a pipe: no duration, no cues."""
    return Written(muxing={"live": "1"}, sounds=[Sound("flac")])(path)


def _false_duration(path: Path) -> Path:
    """Media, track and movie header all say 1 tick."""
    Written()(path)
    one = (1).to_bytes(4)
    return patched(path, (b"mvhd", 20, one), (b"tkhd", 24, one), (b"mdhd", 20, one))


def _false_count(path: Path) -> Path:
    """An AVI whose main header claims 1,000,000 frames."""
    Written(options={"bf": "0"})(path)
    return patched(path, (b"avih", 8 + 16, (1_000_000).to_bytes(4, "little")))


def _two_sizes(path: Path) -> Path:
    first = Written()(path.with_stem("first"))
    second = Written(size=(128, 96), late=15)(path.with_stem("second"))
    path.write_bytes(first.read_bytes() + second.read_bytes())
    return path


def _two_takes(path: Path) -> Path:
    first = Written(late=100)(path.with_stem("first"))
    second = Written()(path.with_stem("second"))
    path.write_bytes(first.read_bytes() + second.read_bytes())
    return path


def _faststart(path: Path) -> Path:
    return Written(muxing={"movflags": "faststart"}, sounds=[SOUND])(path)


def _mid_gop(path: Path) -> Path:
    """A recording of a broadcast that was switched on somewhere."""
    whole = Written(options=BFRAMES | {"g": "10"}, frames=30)(path.with_stem("whole"))
    return copied(whole, path, skip=4)


def _styled(path: Path) -> Path:
    lines = path.with_suffix(".ass")
    lines.write_text(STYLED)
    clip = Written()(path.with_stem("clip"))
    ffmpeg("-i", clip, "-i", lines, "-map", "0", "-map", "1", "-c", "copy", path)
    return path


def _two_pictures(path: Path) -> Path:
    first = Written(labels={"title": "Front"})(path.with_stem("first"))
    second = Written(size=(128, 96))(path.with_stem("second"))
    ffmpeg("-i", first, "-i", second, "-map", "0", "-map", "1", "-c", "copy", path)
    return path


case("cut-in.mp4", "an edit list hides the first pictures", _cut_in)
case("no-duration.mkv", "no duration, no index", _no_duration)
case(
    "false-duration.mp4",
    "headers claim one tick",
    _false_duration,
    lasts="The headers of the result are true.",
)
case("false-count.avi", "a header claims 1,000,000 frames", _false_count)
case("two-sizes.ts", "the size changes", _two_sizes, refused="changes from")
case("two-takes.ts", "time stamps jump back", _two_takes, refused="jump back")
case("index-first.mp4", "the index comes first", _faststart)
case(
    "timecode.mov",
    "a time code track",
    Written(labels={"timecode": "01:02:03:04"}, sounds=[Sound("pcm_s16le")]),
)
case("timecode.mp4", "a time code track", Written(labels={"timecode": "10:00:00:00"}))
case("timecode.mkv", "a time code tag", Written(labels={"timecode": "10:00:00:00"}))
case("mid-gop.ts", "begins between key pictures", _mid_gop)
case("styled.mkv", "styled subtitles", _styled)
case("two-pictures.mkv", "two video tracks", _two_pictures)
case(
    "data.ts",
    "a KLV data stream",
    Written(texts=[Text("klv", [(S(0), S(0), b"\x06\x0e+4" + bytes(16))], data=True)]),
)

# HEVC
HEVC = Written(codec="libx265")
DEEP_HEVC = replace(HEVC, pixels="yuv420p10le")
case("hevc.mp4", "nothing", replace(HEVC, sounds=[SOUND]))
case(
    "hevc.mkv",
    "B-frames, open GOPs",
    replace(
        HEVC,
        frames=30,
        options={"preset": "fast", "x265-params": "open-gop=1:keyint=8:min-keyint=8:bframes=3"},
    ),
)
case("hevc.ts", "nothing", replace(HEVC, sounds=[SOUND]))
case(
    "hdr10.mp4",
    "HDR10 with mastering display and light levels",
    replace(DEEP_HEVC, colour=PQ, options=HDR10),
)
case(
    "hdr10.mkv",
    "HDR10 with mastering display and light levels",
    replace(DEEP_HEVC, colour=PQ, options=HDR10),
)
case(
    "hdr10.ts",
    "HDR10 with mastering display and light levels",
    replace(DEEP_HEVC, colour=PQ, options=HDR10),
)
case("hlg.mov", "HLG", replace(DEEP_HEVC, colour=HLG))
case("hevc-deep.mkv", "10 bits 4:2:2", replace(HEVC, pixels="yuv422p10le"))
case("hevc-12.mkv", "12 bits 4:4:4", replace(HEVC, pixels="yuv444p12le"))


def _hevc_fields(path: Path) -> Path:
    """The container says so, and the pictures' own messages do."""
    fields = Written(codec="libx265", fields="tt", options={"x265-params": "interlace=1"})
    return fields(path)


# AV1, VP9, VP8
AV1 = Written(codec="libsvtav1")
VP9 = Written(codec="libvpx-vp9")
OPUS = Sound("libopus")
case(
    "hevc-fields.mkv",
    "two fields, top first",
    _hevc_fields,
    fields="x265 codes whole pictures; both fields are in each, line by line.",
)
case("av1.mp4", "nothing", replace(AV1, sounds=[OPUS]))
case("av1-deep.mkv", "10 bits, PQ", replace(AV1, pixels="yuv420p10le", colour=PQ))
case("av1.webm", "nothing", replace(AV1, sounds=[OPUS]))
case(
    "av1-hdr10.mp4",
    "HDR10 with mastering display and light levels",
    replace(
        AV1,
        pixels="yuv420p10le",
        colour=PQ,
        options={
            "svtav1-params": "mastering-display=G(0.265,0.69)B(0.15,0.06)R(0.68,0.32)"
            "WP(0.3127,0.329)L(1000.0,0.005):content-light=1000,400"
        },
    ),
)


def _deep_vp9(path: Path) -> Path:
    """PyAV's VP9 encoder has 8 bits only."""
    deep = Written(codec="ffv1", pixels="yuv420p10le")(path.with_suffix(".mkv"))
    tags = ("-color_primaries", "bt2020", "-color_trc", "arib-std-b67", "-colorspace", "bt2020nc")
    ffmpeg("-i", deep, "-c:v", "libvpx-vp9", "-crf", "20", "-b:v", "0", *tags, path)
    return path


case("vp9.webm", "nothing", replace(VP9, sounds=[OPUS]))
case(
    "vp9-deep.webm",
    "10 bits, HLG",
    _deep_vp9,
    codec="PyAV's VP9 encoder has 8 bits; AV1 in WebM keeps ten.",
)
case("vp9-444.mkv", "4:4:4", replace(VP9, pixels="yuv444p"))
case("vp9-odd.webm", "95x63", replace(VP9, size=(95, 63)))
case("vp9.mp4", "nothing", replace(VP9, sounds=[OPUS]))
case(
    "subtitles.webm",
    "subtitles, chapters",
    replace(
        VP9, sounds=[OPUS], texts=[Text("webvtt", WORDS, language="fra")], chapters=["One", "Two"]
    ),
)
case(
    "vp9-alpha.webm",
    "transparency beside the picture",
    replace(VP9, pixels="yuva420p", options={"auto-alt-ref": "0"}),
    alpha="libav's VP9 decoder leaves the second stream, which holds it, aside.",
)
case("vp8.webm", "nothing", replace(VP9, codec="libvpx", sounds=[Sound("libopus")]))

# MPEG-4 Part 2 and MPEG-2
MPEG4, MPEG2 = Written(codec="mpeg4"), Written(codec="mpeg2video")
case("mpeg4.avi", "nothing", replace(MPEG4, sounds=[Sound("libmp3lame")]))
case("mpeg4.mp4", "B-frames", replace(MPEG4, options={"bf": "2"}, sounds=[SOUND]))
case("bframes.avi", "B-frames", replace(MPEG4, options={"bf": "2"}, frames=24))
case(
    "vfr-mpeg4.mkv",
    "variable frame rate",
    replace(MPEG4, base=S(1, 1000), pts=[i * 41 + (i * 7) % 5 for i in range(15)]),
)
case("mpeg2-odd.mkv", "95x63", replace(MPEG2, size=(95, 63)))
case("mpeg4.mkv", "pixels 4:3", replace(MPEG4, aspect=S(4, 3)))
case("mpeg2.mpg", "B-frames", replace(MPEG2, options={"bf": "2"}, sounds=[Sound("mp2")]))
case("mpeg2.ts", "two fields, top first", replace(MPEG2, fields="tt", sounds=[Sound("mp2")]))
case("mpeg2.mkv", "4:2:2", replace(MPEG2, pixels="yuv422p"))
case("mpeg1.mpg", "nothing", replace(MPEG2, codec="mpeg1video", sounds=[Sound("mp2")]))


def _boxed(clip: Written) -> Make:
    """HDR10 metadata in the container alone."""

    def make(path: Path) -> Path:
        third, fifth = S(1, 3), S(1, 5)
        grade = Mastering(
            ((third, third), (fifth, third), (third, fifth), (fifth, fifth)), (S(1, 100), S(600))
        )
        assert hdr_boxes.write(clip(path), 0, grade, (600, 90))
        return path

    return make


def _boxed_copy(path: Path) -> Path:
    """As in MP4, the same packets in another container."""
    boxed = _boxed(replace(VP9, colour=PQ))(path.with_suffix(".mp4"))
    return copied(boxed, path)


# ProRes, MJPEG, FFV1
PRORES = Written(codec="prores_ks", pixels="yuv422p10le")
case("prores.mov", "10 bits 4:2:2", replace(PRORES, sounds=[Sound("pcm_s24le")]))
case(
    "prores-4444.mov",
    "12 bits 4:4:4",
    replace(PRORES, pixels="yuv444p10le"),
    codec="It is decoded with 12 bits, and libav's ProRes encoder takes ten; HEVC keeps them.",
)
case(
    "prores-alpha.mov",
    "transparency",
    replace(PRORES, pixels="yuva444p10le"),
    depth="libav's ProRes encoder takes ten of twelve bits, and transparency counts for more.",
)
case("prores-hdr10.mov", "HDR10 metadata in the container", _boxed(replace(PRORES, colour=PQ)))
case("vp9-hdr10.mp4", "HDR10 metadata in the container", _boxed(replace(VP9, colour=PQ)))
case(
    "vp9-hdr10.webm",
    "HDR10 metadata in the container",
    _boxed_copy,
    hdr="Neither libav's VP9 encoder nor PyAV can write them into WebM.",
)
case(
    "h264-hdr10.mp4",
    "HDR10 metadata in the container",
    _boxed(Written(pixels="yuv420p10le", colour=PQ)),
)
case("prores-fields.mov", "two fields, top first", replace(PRORES, fields="tt"))
MJPEG = Written(codec="mjpeg", pixels="yuvj420p", options={"q": "2"})
case("mjpeg.avi", "full range", replace(MJPEG, sounds=[Sound("pcm_s16le")]))
case("mjpeg.mov", "4:2:2", replace(MJPEG, pixels="yuvj422p"))
case("mjpeg-odd.mkv", "95x63", replace(MJPEG, size=(95, 63)))
FFV1 = Written(codec="ffv1")
case("ffv1.mkv", "nothing", FFV1)
case("ffv1-fields.mkv", "two fields, bottom first", replace(FFV1, fields="bb"))
case("ffv1-deep.mkv", "10 bits 4:2:2", replace(FFV1, pixels="yuv422p10le"))
case("ffv1-16.mkv", "16 bits 4:4:4", replace(FFV1, pixels="yuv444p16le"))
case("ffv1-rgb.mkv", "RGB", replace(FFV1, pixels="gbrp10le"))
case("ffv1-alpha.mkv", "transparency", replace(FFV1, pixels="yuva420p"))
case("ffv1-odd.mkv", "95x63 4:2:0", replace(FFV1, size=(95, 63)))
case("ffv1.avi", "nothing", replace(FFV1, sounds=[Sound("pcm_s16le")]))
