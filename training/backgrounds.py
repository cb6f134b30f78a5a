"""Collect still pictures into one memory-mapped cache: backgrounds for the generator.

    python training/backgrounds.py --output CACHE FOLDER_OR_FILE...

Folders are walked; pictures inside `.rcc` and `.pk3` archives are taken out too. Every picture is
shrunk to a long side of at most 1024 px. A seventh of them, chosen by the hash of their content,
goes to `held-out` and is never trained on.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import re
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from options import plain_parser

LONG_SIDE = 1024
SHORTEST = 160
PICTURES = {".jpg", ".jpeg", ".png", ".webp", ".tif", ".tga"}
EMBEDDED = re.compile(rb"\xff\xd8\xff[\xe0\xe1\xdb]|\x89PNG\r\n\x1a\n|RIFF....WEBP", re.DOTALL)


def blobs(path: Path) -> Iterator[bytes]:
    """Yield the encoded pictures that a file is or contains."""
    suffix = path.suffix.lower()
    if suffix in PICTURES:
        yield path.read_bytes()
    elif suffix == ".pk3":
        with zipfile.ZipFile(path) as archive:
            for name in archive.namelist():
                if Path(name).suffix.lower() in PICTURES:
                    yield archive.read(name)
    elif suffix == ".rcc":
        data = path.read_bytes()
        starts = [match.start() for match in EMBEDDED.finditer(data)]
        for start, end in itertools.pairwise([*starts, len(data)]):
            yield data[start:end]


def decode(blob: bytes) -> NDArray[np.uint8] | None:
    """Decode to RGB (h, w, 3) uint8, over a grey ground where transparent; None if unusable."""
    try:
        raw = cv2.imdecode(np.frombuffer(blob, np.uint8), cv2.IMREAD_UNCHANGED)
    except cv2.error:
        return None
    if raw is None or min(raw.shape[:2]) < SHORTEST:
        return None
    if raw.dtype != np.uint8:
        raw = (raw / max(1, int(raw.max())) * 255).astype(np.uint8)
    if raw.ndim == 2:
        raw = cv2.cvtColor(raw, cv2.COLOR_GRAY2BGR)
    if raw.shape[2] == 4:
        alpha = raw[..., 3:].astype(np.float32) / 255
        ground = int(hashlib.sha256(blob).digest()[1])
        raw = (raw[..., :3] * alpha + ground * (1 - alpha)).astype(np.uint8)
    scale = LONG_SIDE / max(raw.shape[:2])
    if scale < 1:
        raw = cv2.resize(raw, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    return np.ascontiguousarray(raw[..., 2::-1])


def main() -> None:
    parser = plain_parser(__doc__)
    parser.add_argument("sources", nargs="+", type=Path)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--per-folder", type=int, default=150, help="at most this many per folder")
    arguments = parser.parse_args()
    arguments.output.mkdir(parents=True, exist_ok=True)
    cv2.setNumThreads(1)

    seen: set[bytes] = set()
    taken: dict[tuple[Path, str], int] = {}
    index: dict[str, list[dict[str, Any]]] = {"train": [], "held-out": []}
    offset = 0
    files = sorted(
        file
        for source in arguments.sources
        for file in (source.rglob("*") if source.is_dir() else [source])
        if file.is_file() and not file.is_symlink()
    )
    with (arguments.output / "pixels.bin").open("wb") as pixels:
        for file in files:
            key = (file.parent, file.suffix)
            for blob in blobs(file):
                if file.suffix in PICTURES and taken.get(key, 0) >= arguments.per_folder:
                    break
                picture = decode(blob)
                if picture is None or picture.std() < 8:
                    continue
                # A tiny grey copy as identity: the same photograph often comes in many sizes.
                tiny = cv2.resize(picture, (8, 8), interpolation=cv2.INTER_AREA).mean(2)
                digest = hashlib.sha256(
                    ((tiny - tiny.mean()) / 12).astype(np.int8).tobytes()
                ).digest()
                if digest in seen:
                    continue
                seen.add(digest)
                taken[key] = taken.get(key, 0) + 1
                split = "held-out" if digest[0] % 7 == 0 else "train"
                index[split].append({"offset": offset, "shape": picture.shape, "file": str(file)})
                pixels.write(picture.tobytes())
                offset += picture.size
    (arguments.output / "index.json").write_text(json.dumps(index))
    print({name: len(entries) for name, entries in index.items()}, f"{offset / 1e9:.2f} GB")


if __name__ == "__main__":
    main()
