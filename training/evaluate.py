"""Measure the packaged detector on composites of a real mark over clips and photographs.

    python training/evaluate.py --mark MARK_ON_BLACK.mp4 --output RESULT.json CLIP_OR_PHOTO...

With `--tracks` the sightings go through the program's tracks first, as in a run: outliers fall
away, gaps are filled. That needs neighbouring frames, so `--step 1`; `--first` and `--count` choose
a part of the mark clip.

Each source is fitted to each size, the mark is laid over it as a translucent white matte whose
opacity is the mark clip's brightness, the result is compressed with x264, decoded, and every
decoded frame goes through the detector; so does a compressed copy without the mark. A size is
`WxH`, or `WxH:VxU` for a picture of VxU with black bars around it.
"""

from __future__ import annotations

import io
import itertools
import json
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any, Self

import av
import cv2
import numpy as np
from numpy.typing import NDArray
from options import plain_parser

from sorawm_pipeline.media.frame import Box as PixelBox
from sorawm_pipeline.media.frame import Mark
from sorawm_pipeline.media.planes import layout_of, plane_view
from sorawm_pipeline.vision.detector import Detector
from sorawm_pipeline.vision.sampling import Sampler, Settled
from sorawm_pipeline.vision.tracks import Tracks, longest_gap
from sorawm_pipeline.vision.weights import find_weights
from sorawm_pipeline.warm import DOUBTFUL

Pixels = NDArray[np.uint8]
Box = tuple[float, float, float, float]
Placed = tuple[Pixels, tuple[int, int], tuple[int, int]]
SIZES = (
    "640x360,854x480,1280x720,1920x1080,360x640,704x1280,1080x1920,720x720,1080x1080,480x360,"
    "1440x1080,1280x704:388x704"
)
VISIBLE = 24  # brightness of 255 over black from which a pixel of the mark clip is the mark's
BATCH = 8
FAINT = 4.0  # a mark that changes the picture by less than this, of 255, counts as invisible
LEVELS = (0.5, 0.6, 0.7)  # confidences to believe from that --tracks compares
FLOOR = 0.1  # boxes less sure than this are not even looked at


@dataclass(slots=True)
class Score:
    """What was found, with confidences, so that any threshold can be judged afterwards.

    Attributes:
        clean: per clean frame, the confidence of its most confident box, 0 if there is none.
        marked: per marked frame, its boxes as (confidence, IoU with the truth).
        invisible: frames left out because the mark does not stand out at all.
        looks: with tracks, frames looked at for each level.
    """

    clean: list[float] = field(default_factory=list)
    marked: list[list[tuple[float, float]]] = field(default_factory=list)
    invisible: int = 0
    looks: Counter[float] = field(default_factory=Counter)

    def __iadd__(self, other: Score) -> Self:
        self.clean += other.clean
        self.marked += other.marked
        self.invisible += other.invisible
        self.looks += other.looks
        return self

    def figures(self, threshold: float) -> dict[str, Any]:
        kept = [[iou for sure, iou in found if sure >= threshold] for found in self.marked]
        best = [max(found, default=0.0) for found in kept]
        hits = [iou for iou in best if iou >= 0.5]
        frames = max(1, len(best))
        return {
            "marked_frames": len(best),
            "invisible_left_out": self.invisible,
            "recall_at_0.5": round(len(hits) / frames, 5),
            "mean_iou": round(float(np.mean(hits)) if hits else 0.0, 4),
            "iou_5th_percentile": round(float(np.percentile(hits, 5)) if hits else 0.0, 4),
            "surplus_boxes_per_marked_frame": round(
                sum(iou < 0.5 for found in kept for iou in found) / frames, 5
            ),
            "clean_frames": len(self.clean),
            "clean_frames_marked": round(
                sum(sure >= threshold for sure in self.clean) / max(1, len(self.clean)), 5
            ),
        }


def mattes(path: Path, step: int) -> list[Placed | None]:
    """Per frame: brightness (h, w) inside the mark's box, its (x, y), the frame's size; or None."""
    found: list[Placed | None] = []
    with av.open(str(path)) as container:
        for number, frame in enumerate(container.decode(video=0)):
            if number % step:
                continue
            grey = np.asarray(frame.to_ndarray(format="gray"), np.uint8)
            rows, columns = (np.flatnonzero((grey > VISIBLE).any(axis)) for axis in (1, 0))
            if rows.size == 0:
                found.append(None)
                continue
            x0, y0 = max(0, columns[0] - 2), max(0, rows[0] - 2)
            patch = grey[y0 : rows[-1] + 3, x0 : columns[-1] + 3]
            found.append((patch.copy(), (int(x0), int(y0)), (frame.width, frame.height)))
    return found


def pictures(source: Path, width: int, height: int, count: int) -> Iterator[Pixels]:
    """Yield `count` RGB frames of a clip (over again if short) or of a slow move over a photo."""
    if source.suffix.lower() in {".jpg", ".jpeg", ".png", ".webp"}:
        photo = cv2.imread(str(source), cv2.IMREAD_COLOR)
        if photo is None:
            raise SystemExit(f"{source} is not a picture")
        photo = photo[..., ::-1]
        scale = 1.25 * max(width / photo.shape[1], height / photo.shape[0])
        how = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
        photo = cv2.resize(np.ascontiguousarray(photo), None, fx=scale, fy=scale, interpolation=how)
        for number in range(count):
            share = number / max(1, count - 1)
            x = int(share * (photo.shape[1] - width))
            y = int((0.5 + 0.5 * np.sin(6 * share)) * (photo.shape[0] - height))
            yield np.asarray(photo[y : y + height, x : x + width], np.uint8)
        return
    made = 0
    while made < count:
        before = made
        with av.open(str(source)) as container:
            for frame in container.decode(video=0):
                picture = frame.to_ndarray(format="rgb24")
                scale = max(width / picture.shape[1], height / picture.shape[0])
                size = (
                    max(width, round(picture.shape[1] * scale)),
                    max(height, round(picture.shape[0] * scale)),
                )
                picture = cv2.resize(
                    picture, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
                )
                x, y = (size[0] - width) // 2, (size[1] - height) // 2
                yield np.asarray(picture[y : y + height, x : x + width], np.uint8)
                made += 1
                if made == count:
                    return
        if made == before:
            raise SystemExit(f"{source} has no frames")


def overlay(picture: Pixels, matte: Placed) -> tuple[Pixels, Box | None]:
    """Lay the mark over a picture, scaled with the short side; return its box in the picture.

    None instead of a box means that nobody could see it: white over white.
    """
    patch, (x, y), (mark_width, mark_height) = matte
    height, width = picture.shape[:2]
    scale = min(width, height) / min(mark_width, mark_height)
    how = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    bright = cv2.resize(patch, None, fx=scale, fy=scale, interpolation=how)
    left, right = x * scale, (mark_width - x - patch.shape[1]) * scale
    at_x = left if left < right else width - right - bright.shape[1]
    at_y = y / max(1, mark_height - patch.shape[0]) * (height - bright.shape[0])
    px, py = (
        int(np.clip(v, 0, room))
        for v, room in ((at_x, width - bright.shape[1]), (at_y, height - bright.shape[0]))
    )
    alpha = bright[..., None].astype(np.float32) / 255
    under = picture[py : py + bright.shape[0], px : px + bright.shape[1]]
    over = under * (1 - alpha) + 255 * alpha
    stands_out = np.abs(over - under)[bright > VISIBLE].mean()
    rows, columns = (np.flatnonzero((bright > VISIBLE).any(axis)) for axis in (1, 0))
    picture = picture.copy()
    picture[py : py + bright.shape[0], px : px + bright.shape[1]] = np.clip(over, 0, 255)
    if stands_out < FAINT:
        return picture, None
    return picture, (
        float(px + columns[0]),
        float(py + rows[0]),
        float(px + columns[-1] + 1),
        float(py + rows[-1] + 1),
    )


def compressed(frames: list[Pixels], crf: int) -> Iterator[av.VideoFrame]:
    """Encode with x264 and yield the decoded frames."""
    buffer = io.BytesIO()
    with av.open(buffer, "w", format="mp4") as container:
        stream = container.add_stream("libx264", rate=Fraction(30))
        stream.width, stream.height, stream.pix_fmt = (
            frames[0].shape[1],
            frames[0].shape[0],
            "yuv420p",
        )
        stream.options = {"crf": str(crf), "preset": "veryfast", "g": "30"}
        for frame in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode(None))
    buffer.seek(0)
    with av.open(buffer, "r") as container:
        yield from container.decode(video=0)


def detections(
    detector: Detector, frames: Iterator[av.VideoFrame], how: str
) -> Iterator[list[tuple[float, Box]]]:
    """Yield each frame's confidences and boxes, in its own pixels."""
    while batch := list(itertools.islice(frames, BATCH)):
        width, height = batch[0].width, batch[0].height
        across, down = detector.input_size(width, height)
        inputs = np.stack(
            [f.reformat(across, down, "rgb24", interpolation=how).to_ndarray() for f in batch]
        )
        fx, fy = width / across, height / down
        for found in detector.detect(inputs.astype(np.uint8, copy=False)):
            yield [
                (d.confidence, (d.box[0] * fx, d.box[1] * fy, d.box[2] * fx, d.box[3] * fy))
                for d in found
            ]


def tracked(
    sightings: list[list[tuple[float, Box]]],
    frames: list[av.VideoFrame],
    window: int,
    stride: int,
    looks: Counter[float],
) -> list[list[tuple[float, Box]]]:
    """Each frame's marks as a run of the program decides them, for each of LEVELS.

    What is decided when sightings are believed from a level on has that level as its confidence;
    `looks` counts the frames that the program would have looked at for it.
    """
    seen = [
        [Mark(PixelBox(*(round(v) for v in box)), sure) for sure, box in found]
        for found in sightings
    ]
    lumas = [plane_view(frame, 0, layout_of(frame.format.name)) for frame in frames]
    told: list[list[tuple[float, Box]]] = [[] for _ in seen]
    for level in LEVELS:

        def look(indices: Sequence[int], level: float = level) -> list[list[Mark]]:
            looks[level] += len(indices)
            return [[m for m in seen[i] if m.confidence >= level * DOUBTFUL] for i in indices]

        gap = longest_gap(window)
        sampler = Sampler(look, lumas.__getitem__, 8, stride, level, gap)
        tracks = Tracks(window, level)
        settled: list[Settled] = []
        for index in range(len(seen)):
            if sampler.push(index):
                settled += sampler.settle(index)
        if len(settled) < len(seen):
            settled += sampler.settle(len(seen) - 1)
        decided = [out for one in settled for out in tracks.push(*one)] + tracks.flush()
        for frame, marks in zip(told, decided, strict=True):
            frame += [(level, (m.box.x0, m.box.y0, m.box.x1, m.box.y1)) for m in marks]
    return told


def iou(a: Box, b: Box) -> float:
    across = max(0.0, min(a[2], b[2]) - max(a[0], b[0]))
    down = max(0.0, min(a[3], b[3]) - max(a[1], b[1]))
    whole = sum((c[2] - c[0]) * (c[3] - c[1]) for c in (a, b)) - across * down
    return across * down / whole


@dataclass(frozen=True, slots=True)
class Scene:
    """One source in one size, without and with the mark.

    Attributes:
        name: for pictures of misses.
        clean: RGB frames as they were.
        marked: the same frames, with the mark where the mark clip has one.
        truth: per frame the mark's box, None if there is none or nobody could see it.
        hidden: per frame, whether there is a mark that nobody could see.
    """

    name: str
    clean: list[Pixels]
    marked: list[Pixels]
    truth: list[Box | None]
    hidden: list[bool]


def composed(source: Path, size: str, marks: list[Placed | None]) -> Scene:
    outer, _, inner = size.partition(":")
    width, height = (int(v) for v in outer.split("x"))
    across, down = (int(v) for v in (inner or outer).split("x"))
    x, y = (width - across) // 2, (height - down) // 2
    scene = Scene(f"{source.stem}-{size.replace(':', '_')}", [], [], [], [])
    for picture, matte in zip(pictures(source, across, down, len(marks)), marks, strict=True):
        shown, box = overlay(picture, matte) if matte else (picture, None)
        for target, content in ((scene.clean, picture), (scene.marked, shown)):
            frame = np.zeros((height, width, 3), np.uint8)
            frame[y : y + down, x : x + across] = content
            target.append(frame)
        scene.truth.append(box and (box[0] + x, box[1] + y, box[2] + x, box[3] + y))
        scene.hidden.append(matte is not None and box is None)
    return scene


def measure(
    detectors: dict[str, Detector],
    scene: Scene,
    crf: int,
    how: str,
    window: int | None = None,
    stride: int = 1,
    threshold: float = 0.5,
    misses: Path | None = None,
) -> dict[str, Score]:
    """Score detectors on the scene once compressed; draw what goes wrong at `threshold`."""
    scores = {name: Score(invisible=sum(scene.hidden)) for name in detectors}
    for frames, truth in ((scene.marked, scene.truth), (scene.clean, [None] * len(scene.clean))):
        decoded = list(compressed(frames, crf))
        for name, score in scores.items():
            results = list(detections(detectors[name], iter(decoded), how))
            if window is not None:
                results = tracked(results, decoded, window, stride, score.looks)
            for number, (box, found) in enumerate(zip(truth, results, strict=True)):
                if frames is scene.marked and scene.hidden[number]:
                    continue  # neither a miss nor a false alarm
                if box:
                    score.marked.append([(sure, iou(box, f)) for sure, f in found])
                else:
                    score.clean.append(max((sure for sure, _ in found), default=0.0))
                if misses:
                    label = f"{scene.name}-{crf}-{number}-{'marked' if box else 'clean'}.jpg"
                    shown = [f for sure, f in found if sure >= threshold]
                    draw_wrong(frames[number], box, shown, misses / label)
    return scores


def measure_all(
    detectors: dict[str, Detector],
    sources: Sequence[Path],
    marks: list[Placed | None],
    sizes: str,
    take: int,
) -> dict[str, Score]:
    """Score detectors on scenes of all sources: `take` of `sizes` for each, and CRFs, in turn."""
    scores = {name: Score() for name in detectors}
    turn, crfs = itertools.cycle(sizes.split(",")), itertools.cycle((20, 23, 28))
    for source in sources:
        for size in itertools.islice(turn, take):
            scene = composed(source, size, marks)
            for name, score in measure(detectors, scene, next(crfs), "BILINEAR").items():
                scores[name] += score
        print(source.name, flush=True)
    return scores


def still(detector: Detector, path: Path, label: Box, how: str, threshold: float) -> dict[str, Any]:
    """Find the mark in one real picture whose mark was labelled by hand."""
    picture = cv2.imread(str(path), cv2.IMREAD_COLOR)
    if picture is None:
        raise SystemExit(f"{path} is not a picture")
    frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(picture[..., ::-1]), format="rgb24")
    (found,) = detections(detector, iter([frame]), how)
    kept = [(sure, box) for sure, box in found if sure >= threshold]
    sure, box = max(kept, key=lambda one: iou(one[1], label), default=(0.0, None))
    return {
        "confidence": round(sure, 3),
        "box": box and [round(v, 1) for v in box],
        "iou": round(iou(box, label), 3) if box else 0.0,
        "surplus_boxes": max(0, len(kept) - 1),
    }


def draw_wrong(picture: Pixels, box: Box | None, found: list[Box], path: Path) -> None:
    """Write the picture if the box (green) was missed or others (red) were found."""
    wrong = [f for f in found if not box or iou(box, f) < 0.5]
    if not wrong and (box is None or found):
        return
    picture = picture.copy()
    for b, ink in [(f, (255, 0, 0)) for f in wrong] + ([(box, (0, 255, 0))] if box else []):
        cv2.rectangle(picture, (int(b[0]), int(b[1])), (int(b[2]), int(b[3])), ink, 2)
    cv2.imwrite(str(path), picture[..., ::-1])


def main() -> None:
    parser = plain_parser(__doc__)
    parser.add_argument("sources", nargs="+", type=Path)
    parser.add_argument("--mark", type=Path, required=True)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--weights", help="default: the packaged detector")
    parser.add_argument("--sizes", default=SIZES)
    parser.add_argument("--take", type=int, help="so many sizes per source, in turn; default all")
    parser.add_argument("--crf", default="20,23,28", help="taken in turn")
    parser.add_argument(
        "--step", type=int, default=5, help="use every so many-th frame of the mark clip"
    )
    parser.add_argument("--first", type=int, default=0, help="of the mark clip's frames")
    parser.add_argument("--count", type=int, help="default: all that follow")
    parser.add_argument("--tracks", action="store_true")
    parser.add_argument("--stride", type=int, default=1, help="detect.stride, for --tracks")
    parser.add_argument("--window", type=int, default=5, help="temporal.window, for --tracks")
    parser.add_argument("--confidence", type=float)
    parser.add_argument("--image-size", type=int)
    parser.add_argument("--interpolation", default="BILINEAR")
    parser.add_argument("--still", type=Path, help="a real picture with a mark")
    parser.add_argument("--label", help="its mark as x0,y0,x1,y1")
    parser.add_argument("--misses", type=Path, help="folder for pictures of what went wrong")
    arguments = parser.parse_args()
    if arguments.misses:
        arguments.misses.mkdir(parents=True, exist_ok=True)
    weights = find_weights(arguments.weights)
    threshold = weights.confidence if arguments.confidence is None else arguments.confidence
    detector = Detector(weights, confidence=FLOOR, image_size=arguments.image_size)
    if arguments.tracks and arguments.step != 1:
        parser.error("--tracks needs --step 1")
    marks = mattes(arguments.mark, arguments.step)[arguments.first :][: arguments.count]
    by_source: dict[str, Score] = {}
    by_size: dict[str, Score] = {}
    total = Score()
    crfs = itertools.cycle(int(v) for v in arguments.crf.split(","))
    sizes = arguments.sizes.split(",")
    take = arguments.take or len(sizes)
    turn = itertools.cycle(sizes)
    for source in arguments.sources:
        for size, crf in zip(itertools.islice(turn, take), crfs, strict=False):
            score = measure(
                {"": detector},
                composed(source, size, marks),
                crf,
                arguments.interpolation,
                arguments.window if arguments.tracks else None,
                arguments.stride,
                threshold,
                arguments.misses,
            )[""]
            total += score
            by_source.setdefault(source.name, Score()).__iadd__(score)
            by_size.setdefault(size, Score()).__iadd__(score)
        print(source.name, by_source[source.name].figures(threshold), flush=True)
    result: dict[str, Any] = {
        "weights_sha256": detector.weights_sha256,
        "image_size": detector.image_size,
        "confidence": threshold,
        "tracks": arguments.tracks,
        "stride": arguments.stride,
        "looks": {str(level): count for level, count in sorted(total.looks.items())},
        "total": total.figures(threshold),
        "by_confidence": {str(c): total.figures(c) for c in (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7)},
        "by_size": {name: score.figures(threshold) for name, score in by_size.items()},
        "by_source": {name: score.figures(threshold) for name, score in by_source.items()},
    }
    if arguments.still:
        left, top, right, bottom = (float(v) for v in arguments.label.split(","))
        label = (left, top, right, bottom)
        result["still"] = still(
            detector, arguments.still, label, arguments.interpolation, threshold
        )
        print("still", result["still"])
    arguments.output.write_text(json.dumps(result, indent=1) + "\n")
    for part in ("by_confidence", "by_size"):
        for name, figures in result[part].items():
            print(name, figures)
    print("total", result["total"])


if __name__ == "__main__":
    main()
