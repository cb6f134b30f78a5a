"""Pictures for a person: contact sheets of scenes, plots of sweeps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from pictures import Planes, cut, packed, rgb_of
from scenes import Scene

Pixels = NDArray[np.uint8]

COLUMNS = ("ours", "telea", "nearest", "lama", "inversion")
"""Beside the input and the truth, as far as they were run."""
LABEL = 18
WIDEST = 420  # pixels of an enlarged crop


def contact_sheet(path: Path, scene: Scene, results: Mapping[str, Sequence[Planes]]) -> None:
    """Three frames (rows) around the mark: input, truth, then methods; saved as PNG.

    The rows are from the middle of two runs, and the frame of `ours` (or of the first method) that
    is farthest from the truth.
    """
    shown = [name for name in COLUMNS if name in results]
    if not shown:
        return
    rows = []
    for number, index, title in _chosen(scene, results[shown[0]]):
        run = scene.runs[number]
        frames = slice(run.first + index, run.first + index + 1)
        cells = {
            "input": cut(scene.marked, scene.size, run.region, frames),
            "truth": cut(scene.truth, scene.size, run.region, frames),
        }
        for name in shown:
            y, u, v = results[name][number]
            if index < len(y):  # some methods are run over the first frames only
                cells[name] = y[index:], u[index:], v[index:]
            else:
                cells[name] = np.zeros_like(y[:1]), np.zeros_like(u[:1]), np.zeros_like(v[:1])
        labels = [f"{title} {run.first + index}", *list(cells)[1:]]
        rows.append(np.hstack([_cell(c, t) for c, t in zip(cells.values(), labels, strict=True)]))
    across = max(row.shape[1] for row in rows)
    padded = [cv2.copyMakeBorder(r, 0, 4, 0, across - r.shape[1], 0) for r in rows]
    cv2.imwrite(str(path), np.vstack(padded)[..., ::-1])


def _chosen(scene: Scene, results: Sequence[Planes]) -> list[tuple[int, int, str]]:
    """Run, frame within it, and title of the rows."""
    worst, where = -1.0, (0, 0)
    for number, (run, result) in enumerate(zip(scene.runs, results, strict=True)):
        truth = cut(scene.truth, scene.size, run.region, run.frames)[0]
        for index, made in enumerate(result[0]):
            difference = (made.astype(np.float32) - truth[index])[run.visible[index]]
            error = float((difference**2).mean()) if difference.size else 0.0
            if error > worst:
                worst, where = error, (number, index)
    if len(scene.runs) == 1:
        count = len(results[0][0])
        return [(0, count // 4, "input"), (0, count * 3 // 4, "input"), (*where, "worst")]
    other = len(scene.runs) // 2  # the last one is often where the first was
    middles = [(number, len(results[number][0]) // 2, "input") for number in (0, other)]
    return [*middles, (*where, "worst")]


def _cell(planes: Planes, label: str) -> Pixels:
    """One enlarged RGB crop with its label above."""
    rgb = rgb_of(packed(planes))
    scale = max(1, min(3, WIDEST // rgb.shape[1]))
    large = cv2.resize(rgb, None, fx=scale, fy=scale, interpolation=cv2.INTER_CUBIC)
    cell = cv2.copyMakeBorder(large, LABEL, 0, 2, 2, cv2.BORDER_CONSTANT)
    place = (4, LABEL - 5)
    cv2.putText(cell, label, place, cv2.FONT_HERSHEY_SIMPLEX, 0.45, (255, 255, 255), 1, cv2.LINE_AA)
    return np.asarray(cell, np.uint8)


def plot(path: Path, title: str, unit: str, curves: Mapping[str, Mapping[float, float]]) -> None:
    """PSNR inside over what was swept, one curve for each scene and method; saved as PNG."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5, 4), layout="constrained")
    axes = figure.add_subplot()
    colours: dict[str, str] = {}
    styles = {"ours": "-", "telea": ":", "inversion": "--", "floor": "-."}
    for name, points in curves.items():
        scene, _, method = name.rpartition(" ")
        colour = colours.setdefault(scene, f"C{len(colours)}")
        style = styles.get(method, (0, (1, 4)))
        x, y = list(points), list(points.values())
        axes.plot(x, y, color=colour, linestyle=style, marker=".", label=name)
    axes.set_xlabel(unit)
    axes.set_ylabel("PSNR inside the mask, dB")
    axes.set_title(title)
    axes.grid(alpha=0.3)
    figure.legend(loc="outside lower center", ncols=len(colours), fontsize=6)
    figure.savefig(path, dpi=130)
