"""The bench's result as Markdown."""

from __future__ import annotations

from typing import Any

COLUMNS = {
    "psnr_inside": "PSNR inside",
    "psnr_inside_yuv": "YUV 6:1:1",
    "ssim_inside": "SSIM inside",
    "seam": "seam",
    "seam_patch": "seam of patch",
    "flicker": "flicker",
    "flicker_floor": "flicker to floor's",
    "ms_per_marked_frame": "ms per marked frame",
}
DIGITS = {"ssim_inside": 3, "ms_per_marked_frame": 1}
OWN = {"psnr_inside": 1, "ssim_inside": 3, "seam": 2, "flicker": 2, "flicker_floor": 2}
"""Figures of the program in the table by scene, and their digits."""


def markdown(result: dict[str, Any]) -> str:
    """Means with all figures, then PSNR and the program's other figures for each scene."""
    scenes, means = result["scenes"], result["means"]
    marked = result["marked_frames"]
    parts = [
        f"# Restoration bench\n\n{len(scenes)} scenes, {marked} marked frames, "
        f"commit {result['environment']['commit']}, {result['environment']['cpus']} CPUs.\n",
        "## Means over scenes\n",
        table(
            ["method", *COLUMNS.values()],
            [[name, *(cell(f, key) for key in COLUMNS)] for name, f in means.items()],
        ),
        "## By scene: PSNR inside the mask, dB, pooled; other figures are the program's\n",
        by_scene(scenes, means),
        "## The same by kind\n",
        table(
            ["kind", *means],
            [
                [kind, *(cell(found.get(m, {}), "psnr_inside") for m in means)]
                for kind, found in result["kinds"].items()
            ],
        ),
    ]
    if "ours" in means:
        parts += ["## The program\n", program(scenes)]
    return "\n".join(parts)


def by_scene(scenes: dict[str, Any], means: dict[str, Any]) -> str:
    """A line for each scene and their mean: the program's figures, then the other methods' PSNR."""
    others = [name for name in means if name != "ours"]
    own = list(OWN) if "ours" in means else []

    def figures(methods: dict[str, Any]) -> list[str]:
        return [
            *(cell(methods.get("ours", {}), key, OWN[key]) for key in own),
            *(cell(methods.get(name, {}), "psnr_inside", 1) for name in others),
        ]

    rows = [[name, s["size"], s["crf"], *figures(s["methods"])] for name, s in scenes.items()]
    heads = ["scene", "size", "CRF", *(COLUMNS[key] for key in own), *others]
    return table(heads, [*rows, ["**mean**", "", "", *figures(means)]])


def program(scenes: dict[str, Any]) -> str:
    keys = [*COLUMNS, "psnr_outside"]
    heads = ["scene", *COLUMNS.values(), "PSNR outside", "outside identical", "decode+encode ms"]
    rows = []
    for name, scene in scenes.items():
        ours = scene["methods"].get("ours", {})
        plain = scene.get("plain_ms_per_frame", "")
        same = "yes" if ours.get("outside_identical") else "NO"
        rows.append([name, *(cell(ours, key) for key in keys), same, plain])
    return table(heads, rows)


def table(heads: list[str], rows: list[list[Any]]) -> str:
    lines = [heads, ["---"] * len(heads), *rows]
    return "".join("| " + " | ".join(str(v) for v in line) + " |\n" for line in lines)


def cell(figures: dict[str, Any], key: str, digits: int | None = None) -> str:
    digits = DIGITS.get(key, 2) if digits is None else digits
    return f"{figures[key]:.{digits}f}" if key in figures else ""
