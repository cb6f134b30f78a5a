"""How restoration changes with the mark's opacity, with compression, and with the mark's size."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from scenes import QUICK, SCENES, Bench, Scene, Spec, varied
from sheets import plot

SWEPT = ("still-castle", "zoom-giraffe", "cartoon-bunny")
METHODS = ("ours", "telea", "inversion")
Measure = Callable[[Scene, Sequence[str]], dict[str, dict[str, float]]]


def variants(spec: Spec) -> dict[str, list[tuple[float, Spec]]]:
    """What is swept over a scene, and the values on the plot's axis."""
    return {
        "opacity": [(round(100 * o), varied(spec, opacity=o)) for o in (0.4, 0.55, 0.7, 0.85, 1.0)],
        "crf": [(crf, varied(spec, crf=crf)) for crf in (18, 23, 28, 33)],
        "size": [(width, varied(spec, width=width)) for width in (60, 100, 150, 220, 300)],
    }


TITLES = {"opacity": "opacity", "crf": "compression", "size": "size of the mark"}
UNITS = {
    "opacity": "opacity of the mark, %",
    "crf": "x264 CRF",
    "size": "width of the mark, pixels",
}


def swept(bench: Bench, measure: Measure, output: Path) -> dict[str, Any]:
    """PSNR inside for each sweep, scene, method and value; draws sweep-NAME.png.

    Args:
        bench: its scenes are cut to QUICK frames.
        measure: PSNR and more of a scene's methods.
        output: folder for the plots.
    """
    short = replace(bench, frames=min(bench.frames, QUICK))
    result: dict[str, dict[str, dict[float, float]]] = {name: {} for name in UNITS}
    for name in SWEPT:
        spec = SCENES[name]
        if bench.missing(spec):
            continue
        for sweep, values in variants(spec).items():
            for value, variant in values:
                for method, figures in measure(short.scene(variant), METHODS).items():
                    curve = result[sweep].setdefault(f"{name} {method}", {})
                    curve[value] = figures["psnr_inside"]
    for sweep, curves in result.items():
        plot(output / f"sweep-{sweep}.png", f"Quality and {TITLES[sweep]}", UNITS[sweep], curves)
    return result
