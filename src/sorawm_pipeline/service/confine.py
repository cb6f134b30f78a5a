"""What a worker gives up before it opens its first file. Each step tells whether it took hold.

Linux only, and without privileges; elsewhere a worker is merely a process of its own.
"""

from __future__ import annotations

import ctypes
import platform
import resource
import signal
import sys
from contextlib import suppress
from pathlib import Path

OPEN_FILES = 1024
OOM_SCORE = "500"
"""If memory runs out all the same, the kernel ends a worker and not the daemon."""

_SET_PDEATHSIG, _SET_SECCOMP, _SET_NO_NEW_PRIVS = 1, 22, 38
_FILTER_MODE = 2
_LOAD, _EQUAL, _RETURN = 0x20, 0x15, 0x06  # BPF: load a word, jump if equal, return
_CAP_VERSION_3 = 0x20080522
_CAP_DAC_OVERRIDE, _CAP_DAC_READ_SEARCH = 1 << 1, 1 << 2
_ALLOW, _EACCES = 0x7FFF0000, 0x00050000 | 13
_AT_NUMBER, _AT_ARCHITECTURE, _AT_ARGUMENT = 0, 4, 16  # offsets in struct seccomp_data
_AF_INET, _AF_INET6 = 2, 10
_SOCKET_CALL = {"x86_64": (0xC000003E, 41), "aarch64": (0xC00000B7, 198)}


class _Instruction(ctypes.Structure):
    _fields_ = (
        ("code", ctypes.c_ushort),
        ("if_true", ctypes.c_ubyte),
        ("if_false", ctypes.c_ubyte),
        ("value", ctypes.c_uint),
    )


class _CapHeader(ctypes.Structure):
    _fields_ = (("version", ctypes.c_uint32), ("pid", ctypes.c_int))


class _CapData(ctypes.Structure):
    _fields_ = (
        ("effective", ctypes.c_uint32),
        ("permitted", ctypes.c_uint32),
        ("inheritable", ctypes.c_uint32),
    )


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("filter", ctypes.POINTER(_Instruction)))


def confine(address_space: int | None, *, internet: bool = False) -> tuple[str, ...]:
    """Set every limit; returns the names of those that hold. Call it before threads start.

    Args:
        address_space: bytes, or None for no limit.
        internet: whether it must reach other machines.
    """
    held = []
    if _limit(resource.RLIMIT_CORE, 0):
        held.append("no core dumps")
    if _limit(resource.RLIMIT_NOFILE, OPEN_FILES):
        held.append("open files")
    if address_space is not None and _limit(resource.RLIMIT_AS, address_space):
        held.append("address space")
    if sys.platform == "linux":
        with suppress(OSError):
            Path("/proc/self/oom_score_adj").write_text(OOM_SCORE)
            held.append("first to go when memory runs out")
        if _control(_SET_PDEATHSIG, signal.SIGKILL):
            held.append("ends with the daemon")
        if _drop_capabilities():
            held.append("no powers of root's but to open files")
        if _control(_SET_NO_NEW_PRIVS, 1):
            held.append("no new privileges")
            if not internet and _deny_internet():
                held.append("no internet sockets")
    return tuple(held)


def limit_file_size(size: int) -> None:
    """No file may grow beyond `size` bytes from now on; writing more fails with EFBIG."""
    _limit(resource.RLIMIT_FSIZE, size)


def limit_cpu(seconds: float) -> None:
    """The kernel ends this process when it has computed for `seconds` more."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    _limit(resource.RLIMIT_CPU, int(used.ru_utime + used.ru_stime + seconds) + 1)


def _limit(what: int, value: int) -> bool:
    """Set a soft limit, no higher than the hard one."""
    _, hard = resource.getrlimit(what)
    try:
        resource.setrlimit(
            what, (value if hard == resource.RLIM_INFINITY else min(value, hard), hard)
        )
    except (OSError, ValueError):
        return False
    return True


def _control(option: int, *values: object) -> bool:
    return bool(ctypes.CDLL(None).prctl(option, *values, *[0] * (4 - len(values))) == 0)


def _drop_capabilities() -> bool:
    """Keep of root's capabilities those by which it opens the files of others; see capset(2)."""
    library = ctypes.CDLL(None)
    header, data = _CapHeader(_CAP_VERSION_3, 0), (_CapData * 2)()
    if library.capget(ctypes.byref(header), data) != 0:
        return False
    kept = data[0].permitted & (_CAP_DAC_OVERRIDE | _CAP_DAC_READ_SEARCH)
    data[0] = _CapData(kept, kept, 0)
    data[1] = _CapData(0, 0, 0)
    return bool(library.capset(ctypes.byref(header), data) == 0)


def _deny_internet() -> bool:
    """Let `socket` fail with EACCES for IPv4 and IPv6, by a seccomp filter."""
    known = _SOCKET_CALL.get(platform.machine())
    if known is None:
        return False
    architecture, socket_call = known
    code = [
        (_LOAD, 0, 0, _AT_ARCHITECTURE),
        (_EQUAL, 0, 6, architecture),
        (_LOAD, 0, 0, _AT_NUMBER),
        (_EQUAL, 0, 4, socket_call),
        (_LOAD, 0, 0, _AT_ARGUMENT),
        (_EQUAL, 1, 0, _AF_INET),
        (_EQUAL, 0, 1, _AF_INET6),
        (_RETURN, 0, 0, _EACCES),
        (_RETURN, 0, 0, _ALLOW),
    ]
    instructions = (_Instruction * len(code))(*(_Instruction(*line) for line in code))
    program = _Program(len(code), instructions)
    return _control(_SET_SECCOMP, _FILTER_MODE, ctypes.byref(program))
