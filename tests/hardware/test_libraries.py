"""Memory of libraries that are not used any more."""

from __future__ import annotations

import ctypes
import mmap
import re
import sys
from pathlib import Path

import pytest

from sorawm_pipeline.hardware import libraries
from sorawm_pipeline.hardware.libraries import _clean, give_back

PAGES = 64
linux = pytest.mark.skipif(sys.platform != "linux", reason="mappings are told by Linux alone")


def listed(rights: str, path: str, anonymous: int) -> str:
    return (
        f"7f00-7fff {rights} 00000000 08:01 123                {path}\n"
        f"Rss:                  40 kB\nAnonymous:             {anonymous} kB\n"
    )


def test_only_what_nobody_has_written_to_is_given_back() -> None:
    assert list(_clean(listed("r-xp", "/lib/libthis.so", 0), "this")) == [(0x7F00, 0x7FFF)]
    for other in (
        listed("r-xp", "/lib/libother.so", 0),
        listed("rw-p", "/lib/libthis.so", 0),
        listed("r--p", "/lib/libthis.so", 4),
        listed("r--p", "", 0),
    ):
        assert list(_clean(other, "this")) == []


def resident(path: Path) -> int:
    """Bytes of a file's mapping that are in memory."""
    text = Path("/proc/self/smaps").read_text()
    found = re.search(re.escape(str(path)) + r"\n(?:.*\n)*?Rss: +(\d+)", text)
    assert found is not None
    return int(found[1]) * 1024


@linux
def test_pages_go_and_come_back(tmp_path: Path) -> None:
    path = tmp_path / "libsomething.so"
    path.write_bytes(b"x" * PAGES * mmap.PAGESIZE)
    with path.open("rb") as file:
        mapping = mmap.mmap(file.fileno(), 0, mmap.MAP_PRIVATE, mmap.PROT_READ)
    assert mapping.read() == path.read_bytes()
    assert resident(path) == PAGES * mmap.PAGESIZE
    give_back("libsomething")
    assert resident(path) == 0
    mapping.seek(0)
    assert mapping.read() == path.read_bytes()
    mapping.close()


@linux
def test_what_was_written_and_then_protected_stays(tmp_path: Path) -> None:
    """As relocations are, which a loader writes into pages that it protects afterwards."""
    path = tmp_path / "librelocated.so"
    path.write_bytes(b"x" * mmap.PAGESIZE)
    with path.open("rb") as file:
        mapping = mmap.mmap(file.fileno(), 0, mmap.MAP_PRIVATE, mmap.PROT_READ | mmap.PROT_WRITE)
    mapping[:4] = b"here"
    first = ctypes.addressof(ctypes.c_char.from_buffer(mapping))
    protect = ctypes.CDLL(None).mprotect
    assert protect(ctypes.c_void_p(first), ctypes.c_size_t(mmap.PAGESIZE), mmap.PROT_READ) == 0
    give_back("librelocated")
    assert ctypes.string_at(first, 4) == b"here"


def test_where_nothing_is_told_nothing_is_done(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(libraries, "MAPPINGS", tmp_path / "none")
    give_back("anything")
