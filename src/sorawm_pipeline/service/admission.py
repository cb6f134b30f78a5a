"""Which of the files that were seen stand still long enough to be looked at.

Pure bookkeeping: no clock, no disk, no event loop. Whoever drives it tells what it saw and when.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from sorawm_pipeline.service.jobs import Fingerprint

LONGEST_WAIT_S = 3600.0
"""A file that cannot be read is tried again at least this often."""


@dataclass(slots=True)
class _Candidate:
    fingerprint: Fingerprint
    changed: float
    due: float | None  # None: it is being looked at
    looks: int = 0


@dataclass(frozen=True, slots=True)
class Ready:
    """A file to look at.

    Attributes:
        fingerprint: what it must still have when the look is over.
        still_s: seconds for which it has stood still.
        looks: how often it was looked at since it last changed, this time included.
    """

    path: Path
    fingerprint: Fingerprint
    still_s: float
    looks: int


class Admission:
    """Candidates from being seen until they are taken in or given up.

    Times are seconds of any one clock that does not jump.

    Args:
        settle_s: how long size and modification time must stand still.
    """

    def __init__(self, settle_s: float) -> None:
        self.settle_s = settle_s
        self._candidates: dict[Path, _Candidate] = {}

    def __len__(self) -> int:
        return len(self._candidates)

    def __contains__(self, path: Path) -> bool:
        return path in self._candidates

    def see(self, path: Path, fingerprint: Fingerprint, now: float) -> None:
        """A file is there and looks so; any change starts its wait anew, also during a look."""
        known = self._candidates.get(path)
        if known is None or known.fingerprint != fingerprint:
            due = now + self.settle_s
            self._candidates[path] = _Candidate(fingerprint, now, due)

    def below(self, folder: Path) -> list[Path]:
        """Candidates in a folder, or that are that path."""
        return [path for path in self._candidates if path == folder or folder in path.parents]

    def drop(self, path: Path) -> None:
        """The file is gone, taken in, or given up."""
        self._candidates.pop(path, None)

    def ready(self, now: float) -> list[Ready]:
        """Files that are due, oldest change first; each counts as being looked at from now on."""
        found = []
        for path, candidate in self._candidates.items():
            if candidate.due is not None and candidate.due <= now:
                candidate.due = None
                candidate.looks += 1
                still = now - candidate.changed
                found.append(Ready(path, candidate.fingerprint, still, candidate.looks))
        return sorted(found, key=lambda ready: -ready.still_s)

    def again(self, ready: Ready, now: float) -> None:
        """It was not whole, or not readable: another look, later each time."""
        candidate = self._candidates.get(ready.path)
        if candidate is not None and candidate.fingerprint == ready.fingerprint:
            wait = max(self.settle_s, 1.0) * 2 ** min(candidate.looks, 16)
            candidate.due = now + min(wait, LONGEST_WAIT_S)

    def unchanged(self, ready: Ready) -> bool:
        """Whether what was looked at is still what was last seen."""
        candidate = self._candidates.get(ready.path)
        return candidate is not None and candidate.fingerprint == ready.fingerprint

    def next_due(self) -> float | None:
        """When `ready` will next have something, if nothing changes."""
        return min((c.due for c in self._candidates.values() if c.due is not None), default=None)
