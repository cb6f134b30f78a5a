"""How near the restored picture comes to the truth, and to what others make of it.

    python bench/quality.py --mark MARK_ON_BLACK.mp4 --output DIR [--quick] [--work DIR]
        [--only NAME,...] [--methods ours,telea,...] [--set KEY=VALUE ...] SOURCES

Scenes (scenes.py) are real films and photographs with a mark laid over them and compressed. `ours`
is the program itself, told the boxes (`--find`: finding them), encoding losslessly; `--set` changes
its configuration. Beside it: `none` (the mark left), `telea`, `ns` (OpenCV's, of the true mask),
`nearest` (copy from the nearest frame where the place is free), `inversion` (the true matte taken
off; a reference that knows what no one can), `floor` (the truth, compressed alike: the best that
can be reached), and with `--lama FILE` a LaMa TorchScript file.

Figures are pooled over all marked pixels (alpha above 0.02) of a scene, so that bad frames count.
Ratios are to the truth's: `seam` is the gradient across the mark's outline, `seam_patch` across the
patch's, `flicker` the difference to the frame before moved along the true flow, `flicker_floor` the
same against the compressed truth. Made scenes are kept in WORK.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

import av
import cv2
import numpy as np
from figures import Sums, Truth, psnr
from fills import FILLS, Fill, lama
from pictures import Planes, cut
from scenes import QUICK, SCENES, Bench, Scene
from sheets import contact_sheet
from sweeps import swept
from tables import markdown
from through import Cleaned, outside_psnr, plain_ms, processed

from sorawm_pipeline import PipelineConfig

METHODS = "ours,telea,ns,nearest,none,inversion,floor"
FULL = 240


def truths(scene: Scene, margin: int) -> list[Truth]:
    """What each run's results are compared with."""
    prepared = []
    for run in scene.runs:
        patch = np.zeros((run.region.height, run.region.width), np.bool_)
        hole = run.given.grown(margin).intersection(run.region)
        patch[hole.within(run.region)] = True
        prepared.append(
            Truth.of(
                cut(scene.truth, scene.size, run.region, run.frames),
                cut(scene.floor, scene.size, run.region, run.frames)[0],
                run.visible,
                patch,
                [shot - run.first for shot in scene.cuts],
            )
        )
    return prepared


def judged(prepared: Sequence[Truth], results: Sequence[Planes]) -> dict[str, float]:
    sums = Sums()
    for truth, result in zip(prepared, results, strict=True):
        sums += truth.judged(result)
    return sums.figures()


def filled(scene: Scene, fill: Fill) -> tuple[list[Planes], float]:
    """A baseline's regions, and its milliseconds for each marked frame."""
    _ = scene.marked, scene.floor  # decoding is not the fill's time
    began = time.perf_counter()
    results = [fill(scene, run) for run in scene.runs]
    frames = sum(len(result[0]) for result in results)
    return results, (time.perf_counter() - began) / max(1, frames) * 1e3


@dataclass(frozen=True)
class Session:
    """How scenes are measured.

    Args:
        fills: the baselines by name.
        overrides: of the program's configuration, KEY=VALUE.
        find: with the built-in detector instead of given boxes.
    """

    fills: dict[str, Fill]
    overrides: Sequence[str]
    find: bool

    def methods(
        self, scene: Scene, names: Sequence[str]
    ) -> tuple[dict[str, dict[str, Any]], dict[str, list[Planes]]]:
        """Figures and restored regions of methods, one line printed for each."""
        margin = PipelineConfig.load_yaml("{}", overrides=self.overrides).inpaint.margin
        prepared = truths(scene, margin)
        found: dict[str, dict[str, Any]] = {}
        results: dict[str, list[Planes]] = {}
        for name in names:
            outside: dict[str, Any] = {}
            if name == "ours":
                cleaned = processed(scene, scene.folder, self.overrides, self.find)
                results[name], cost = cleaned.regions(scene), cleaned.fill_ms
                outside = _outside(scene, cleaned, margin)
            else:
                results[name], cost = filled(scene, self.fills[name])
            figures = {**judged(prepared, results[name]), "ms_per_marked_frame": cost}
            found[name] = {key: round(value, 4) for key, value in figures.items()} | outside
            print(line(scene.spec.name, name, found[name]), flush=True)
        return found, results


def measured(scene: Scene, session: Session, arguments: argparse.Namespace) -> dict[str, Any]:
    """One scene's entry in the result."""
    methods, results = session.methods(scene, arguments.methods)
    if arguments.sheets:
        contact_sheet(arguments.output / f"sheet-{scene.spec.name}.png", scene, results)
    found: dict[str, Any] = {
        "kind": scene.spec.kind,
        "size": f"{scene.size[0]}x{scene.size[1]}",
        "crf": scene.spec.crf,
        "look": scene.spec.look.kind,
        "frames": len(scene.truth),
        "marked_frames": scene.marked_frames,
        "cuts": list(scene.cuts),
        "methods": methods,
    }
    if arguments.plain:
        found["plain_ms_per_frame"] = round(plain_ms(scene, scene.folder), 2)
    return found


def _outside(scene: Scene, cleaned: Cleaned, margin: int) -> dict[str, Any]:
    return {
        "method": cleaned.method,
        "outside_identical": cleaned.identical,
        "outside_samples_changed": cleaned.astray,
        "psnr_outside": round(psnr(*outside_psnr(scene, cleaned.pictures, margin)), 2),
        "program_ms_per_frame": round(cleaned.wall_ms, 2),
    }


def line(scene: str, method: str, figures: dict[str, Any]) -> str:
    astray = "" if figures.get("outside_identical", True) else "  OUTSIDE CHANGED"
    return (
        f"{scene:18} {method:10} {figures['psnr_inside']:6.2f} dB  "
        f"yuv {figures['psnr_inside_yuv']:5.2f}  ssim {figures['ssim_inside']:.4f}  "
        f"seam {figures['seam']:.2f}/{figures['seam_patch']:.2f}  "
        f"flicker {figures['flicker']:.2f}/{figures['flicker_floor']:.2f}  "
        f"{figures['ms_per_marked_frame']:6.2f} ms{astray}"
    )


def means(scenes: dict[str, Any]) -> dict[str, dict[str, float]]:
    """Per method, the mean over scenes of each figure; scenes count alike."""
    names = dict.fromkeys(name for scene in scenes.values() for name in scene["methods"])
    found = {}
    for name in names:
        rows = [s["methods"][name] for s in scenes.values() if name in s["methods"]]
        keys = [k for k, v in rows[0].items() if isinstance(v, float)]
        found[name] = {key: round(fmean(row[key] for row in rows), 4) for key in keys}
    return found


def environment() -> dict[str, Any]:
    here = Path(__file__).parent
    git = ["git", "-C", str(here), "describe", "--always", "--dirty"]
    commit = subprocess.run(git, capture_output=True, text=True, check=False).stdout.strip()
    return {
        "commit": commit,
        "python": platform.python_version(),
        "numpy": np.__version__,
        "opencv": cv2.__version__,
        "pyav": av.__version__,
        "cpus": os.cpu_count(),
        "load": os.getloadavg()[0],
    }


def main() -> None:
    arguments = parsed()
    output: Path = arguments.output
    output.mkdir(parents=True, exist_ok=True)
    frames = arguments.frames or (QUICK if arguments.quick else FULL)
    bench = Bench(arguments.work or output / "work", arguments.sources, arguments.mark, frames)
    fills = dict(FILLS)
    if arguments.lama:
        fills["lama"] = lama(arguments.lama, arguments.lama_frames)
        arguments.methods.append("lama")
    session = Session(fills, arguments.set, arguments.find)
    result: dict[str, Any] = {"environment": environment(), "frames": frames, "scenes": {}}
    for name in arguments.only or SCENES:
        spec = SCENES[name]
        if missing := bench.missing(spec):
            print(f"{name:18} left out: {', '.join(missing)} not among the sources", flush=True)
            continue
        result["scenes"][name] = measured(bench.scene(spec), session, arguments)
    summarise(result)
    (output / "quality.md").write_text(markdown(result))
    if arguments.sweeps:
        result["sweeps"] = swept(bench, lambda *of: session.methods(*of)[0], output)
    (output / "quality.json").write_text(json.dumps(result, indent=1) + "\n")


def summarise(result: dict[str, Any]) -> None:
    """Add the means over scenes and kinds, and print the first."""
    scenes = result["scenes"]
    result["marked_frames"] = sum(scene["marked_frames"] for scene in scenes.values())
    result["means"] = means(scenes)
    kinds = dict.fromkeys(scene["kind"] for scene in scenes.values())
    result["kinds"] = {
        kind: means({n: s for n, s in scenes.items() if s["kind"] == kind}) for kind in kinds
    }
    for name, figures in result["means"].items():
        print(line("mean", name, figures))


def parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("sources", type=Path, help="folder with what scenes.py names")
    parser.add_argument("--mark", type=Path, required=True, help="clip of the mark on black")
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--work", type=Path, help="where scenes are kept; default OUTPUT/work")
    parser.add_argument("--quick", action="store_true", help=f"{QUICK} frames, not {FULL}")
    parser.add_argument("--frames", type=int, help="of each scene")
    parser.add_argument("--only", type=lambda t: t.split(","), help="names or kinds of scenes")
    parser.add_argument("--methods", type=lambda t: t.split(","), default=METHODS.split(","))
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    parser.add_argument("--lama", type=Path, help="a LaMa TorchScript file")
    parser.add_argument("--lama-frames", type=int, default=5, help="of each run, for it is slow")
    parser.add_argument("--sweeps", action="store_true", help="plot opacity, CRF and mark size")
    parser.add_argument("--sheets", action=argparse.BooleanOptionalAction, default=True)
    parser.add_argument("--find", action="store_true", help="with the built-in detector")
    parser.add_argument("--plain", action=argparse.BooleanOptionalAction, help="time decode+encode")
    arguments = parser.parse_args()
    if arguments.plain is None:
        arguments.plain = not arguments.quick
    if unknown := set(arguments.methods) - {"ours", *FILLS}:
        parser.error(f"no method {', '.join(unknown)}; there are ours, {', '.join(FILLS)}")
    if arguments.only:
        wanted = set(arguments.only)
        arguments.only = [n for n, s in SCENES.items() if n in wanted or s.kind in wanted]
        if wanted - set(SCENES) - {s.kind for s in SCENES.values()}:
            parser.error(f"--only takes {', '.join(SCENES)}, or what stands before their hyphens")
    return arguments


if __name__ == "__main__":
    main()
