"""The page that shows the daemon at work: static ES modules, served as they lie here.

No build step and no network: all that the page needs is in this folder, uPlot included
(`vendor/uplot`, with its licence and version). It runs under a Content-Security-Policy that allows
nothing but this server, so no script and no style stands inside `index.html`, and text from outside
(file names, messages) only ever becomes text.
"""

from __future__ import annotations

from pathlib import Path

FOLDER = Path(__file__).parent
"""Holds `index.html`, served at `/`; everything else is served at `/dashboard/...`."""

SUFFIXES = frozenset({".html", ".js", ".css", ".svg", ".txt"})
"""What may be served from `FOLDER`."""
