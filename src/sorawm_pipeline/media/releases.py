"""What differs between the releases of PyAV that this program runs on."""

from __future__ import annotations

from typing import Any

import av

_MAJOR = int(av.__version__.partition(".")[0])

TAG_DECODING: dict[str, Any] = {"metadata_errors": "surrogateescape"} if _MAJOR < 19 else {}
"""For `av.open`: tags need not be valid UTF-8. From 19 on PyAV sees to that itself."""
