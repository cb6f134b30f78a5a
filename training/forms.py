"""What the packaged detector finds in 8-bit integers beside 32-bit floats, on the same frames.

    python training/forms.py --mark MARK_ON_BLACK.mp4 --output RESULT.json CLIP_OR_PHOTO...

Scenes are those of `evaluate.py`. `apart` is how far the confidences of both are from each other
where both see one mark: mean and 99th percentile.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from evaluate import FLOOR, SIZES, Score, mattes, measure_all, still
from options import plain_parser

from sorawm_pipeline.vision.detector import Detector
from sorawm_pipeline.vision.weights import builtin_weights

CONFIDENCES = (0.2, 0.4, 0.5, 0.6, 0.7, 0.8)


def apart(one: Score, other: Score) -> dict[str, float]:
    sure = [
        (max(a)[0], max(b)[0]) for a, b in zip(one.marked, other.marked, strict=True) if a and b
    ]
    difference = np.abs(np.diff(np.array(sure), axis=1))
    return {
        "mean": round(float(difference.mean()), 4),
        "percentile_99": round(float(np.percentile(difference, 99)), 4),
    }


def main() -> None:
    parser = plain_parser(__doc__)
    parser.add_argument("sources", nargs="+", type=Path)
    parser.add_argument("--mark", type=Path, required=True)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--step", type=int, default=7, help="of the mark clip's frames")
    parser.add_argument("--sizes", default=SIZES, help="of frames, see evaluate.py")
    parser.add_argument("--take", type=int, default=4, help="so many sizes per source, in turn")
    parser.add_argument("--still", type=Path, help="a real picture with a mark")
    parser.add_argument("--label", help="its mark as x0,y0,x1,y1")
    arguments = parser.parse_args()
    weights = builtin_weights("onnx")
    plain = Detector(weights, confidence=FLOOR)
    int8 = Detector(weights, confidence=FLOOR, form="int8")
    if int8.fallback is not None:
        raise SystemExit(f"no integers here: {int8.fallback}")
    detectors = {"fp32": plain, "int8": int8}
    marks = mattes(arguments.mark, arguments.step)
    scores = measure_all(detectors, arguments.sources, marks, arguments.sizes, arguments.take)
    result: dict[str, Any] = {"apart": apart(*scores.values())}
    for form, score in scores.items():
        result[form] = {
            "runtime": detectors[form].runtime,
            "weights_sha256": detectors[form].weights_sha256,
            "by_confidence": {str(c): score.figures(c) for c in CONFIDENCES},
        }
        if arguments.still:
            left, top, right, bottom = (float(v) for v in arguments.label.split(","))
            box = (left, top, right, bottom)
            result[form]["still"] = still(
                detectors[form], arguments.still, box, "BILINEAR", weights.confidence
            )
    arguments.output.write_text(json.dumps(result, indent=1) + "\n")
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
