"""What can be said of the page's files without a browser."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from sorawm_pipeline.service.dashboard import FOLDER, SUFFIXES

VENDOR = FOLDER / "vendor"
PAGE = (FOLDER / "index.html").read_text("utf-8")
OWN = sorted(path for path in FOLDER.rglob("*.js") if VENDOR not in path.parents)
SHEETS = sorted((FOLDER / "style").glob("*.css"))


def test_nothing_but_what_may_be_served_lies_there() -> None:
    others = {path.name for path in FOLDER.rglob("*") if path.is_file()}
    assert {name for name in others if Path(name).suffix not in SUFFIXES | {".pyc"}} == {
        "__init__.py"
    }


def test_what_the_page_names_is_there() -> None:
    named = re.findall(r'(?:href|src)="/dashboard/([^"]+)"', PAGE)
    assert len(named) > 5
    assert [name for name in named if not (FOLDER / name).is_file()] == []


def test_the_page_has_no_script_or_style_inside() -> None:
    assert re.findall(r"<script(?![^>]*\ssrc=)", PAGE) == []
    assert re.findall(r"<style|\sstyle=|\son\w+=", PAGE) == []


@pytest.mark.parametrize("path", OWN, ids=lambda path: str(path.relative_to(FOLDER)))
def test_a_module_is_found_makes_no_markup_and_asks_nobody_else(path: Path) -> None:
    text = path.read_text("utf-8")
    imported = re.findall(r'from "(\.[^"]+)"', text)
    assert [name for name in imported if not (path.parent / name).resolve().is_file()] == []
    assert re.findall(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(", text) == []
    assert set(re.findall(r"https?://[^\"]+", text)) <= {"http://www.w3.org/2000/svg"}


def test_every_element_that_is_looked_for_is_on_the_page() -> None:
    wanted = {name for path in OWN for name in re.findall(r'byId\("([^"]+)"\)', path.read_text())}
    assert len(wanted) > 20
    assert wanted - set(re.findall(r'\sid="([^"]+)"', PAGE)) == set()


def test_style_sheets_ask_nobody_else() -> None:
    assert [path.name for path in SHEETS if re.search(r"@import|url\(", path.read_text())] == []


def test_uplot_has_its_licence_and_version() -> None:
    licence = (VENDOR / "uplot" / "LICENSE.txt").read_text()
    assert "The MIT License" in licence
    version = re.search(r"uPlot (\S+),", (VENDOR / "uplot" / "VERSION.txt").read_text())
    assert version is not None
    assert f"(v{version[1]})" in (VENDOR / "uplot" / "uPlot.esm.js").read_text("utf-8")[:600]
