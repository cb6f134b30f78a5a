"""Memory of libraries that were loaded and are not used any more."""

from __future__ import annotations

import ctypes
import re
from collections.abc import Iterator
from pathlib import Path

from sorawm_pipeline.hardware.memory import trim_heap

MAPPINGS = Path("/proc/self/smaps")
HEADER = re.compile(r"([0-9a-f]+)-([0-9a-f]+) (\S{4}) \S+ \S+ \S+ *(.*)")
MADV_DONTNEED = 4


def give_back(name: str) -> None:
    """Give back what libraries take whose path has `name` in it, and what the allocator keeps.

    A library that has run cannot safely be unloaded. But pages that nobody can write to and nobody
    has written to are the file's own; the kernel reads them again should anybody need them.
    Where the system is not Linux with the GNU library, nothing is done.
    """
    trim_heap()
    libc = ctypes.CDLL(None)
    try:
        mappings = MAPPINGS.read_text("utf-8", "surrogateescape")
    except OSError:
        return
    for first, end in _clean(mappings, name):
        libc.madvise(ctypes.c_void_p(first), ctypes.c_size_t(end - first), MADV_DONTNEED)


def _clean(mappings: str, name: str) -> Iterator[tuple[int, int]]:
    """First address and end of mappings of such files that hold nothing but what the files do."""
    found: tuple[int, int] | None = None
    for line in mappings.splitlines():
        if header := HEADER.fullmatch(line):
            first, end, rights, path = header.groups()
            readable = name in path and "w" not in rights
            found = (int(first, 16), int(end, 16)) if readable else None
        elif line.startswith("Anonymous:") and found is not None:
            if line.split()[1] == "0":
                yield found
            found = None
