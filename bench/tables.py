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
        "## PSNR inside the mask, dB, pooled over a scene\n",
        table(
            ["scene", "size", "CRF", "marked", *means],
            [
                [name, s["size"], s["crf"], s["marked_frames"]]
                + [cell(s["methods"].get(m, {}), "psnr_inside") for m in means]
                for name, s in scenes.items()
            ],
        ),
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


def cell(figures: dict[str, Any], key: str) -> str:
    return f"{figures[key]:.{DIGITS.get(key, 2)}f}" if key in figures else ""
