"""The figures of `performance_test.py` as plots and as a page in Markdown."""

from __future__ import annotations

from pathlib import Path
from typing import Any

STAGES = ("decode", "detect", "inpaint", "temporal", "encode")
ACTIVITIES = {"busy_s": "computing", "wait_in_s": "waiting for input", "wait_out_s": "for room"}
COLOURS = ("#2a6f97", "#cfd8dc", "#e9c46a")


def write_plots(result: dict[str, Any], folder: Path) -> None:
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    figures = result["figures"]
    speeds = {name: 1e3 / entry["ms_per_frame"] for name, entry in figures.items()}
    names = sorted(speeds, key=speeds.__getitem__)
    figure, axes = plt.subplots(figsize=(8, 4.5), layout="constrained")
    bars = axes.barh(names, [speeds[name] for name in names], color=COLOURS[0])
    axes.bar_label(bars, [f"{speeds[name]:.3g}" for name in names], padding=3)
    axes.set(xscale="log", xlabel=f"frames per second, {result['environment']['size']}")
    axes.margins(x=0.15)
    figure.savefig(folder / "speed-bars.png", dpi=110)
    plt.close(figure)

    stages = figures["balanced"]["stages_ms_per_frame"]
    figure, axes = plt.subplots(figsize=(8, 3), layout="constrained")
    left = [0.0] * len(STAGES)
    for (key, label), colour in zip(ACTIVITIES.items(), COLOURS, strict=True):
        width = [stages[name][key] for name in STAGES]
        axes.barh(STAGES, width, left=left, label=label, color=colour)
        left = [a + b for a, b in zip(left, width, strict=True)]
    axes.invert_yaxis()
    axes.set(xlabel="milliseconds per frame")
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, 1.2), ncols=3, frameon=False)
    figure.savefig(folder / "stages.png", dpi=110)
    plt.close(figure)


def page_of(result: dict[str, Any]) -> str:
    environment, figures = result["environment"], result["figures"]
    packages = ", ".join(f"{k} {v}" for k, v in environment["packages"].items() if v)
    lines = [
        f"`{environment['clip']}`, {environment['size']}, {environment['cores']} cores "
        f"({environment['processor']}), medians of {result['rounds']} interleaved rounds.",
        f"Python {environment['python']}, {packages}.",
        "",
        "| run | ms per frame | frames per second | CPU ms per frame | frames of the clip |",
        "|---|---|---|---|---|",
    ]
    for name, entry in figures.items():
        wall = entry["ms_per_frame"]
        cells = (f"{wall:.2f}", f"{1e3 / wall:.3g}", f"{entry['cpu_ms_per_frame']:.1f}")
        lines.append(f"| {name} | {' | '.join(cells)} | {entry.get('frames', '')} |")
    lines += ["", "| ratio | |", "|---|---|"]
    lines += [f"| {name} | {value:.2f} |" for name, value in result["ratios"].items()]
    return "\n".join(lines) + "\n"
