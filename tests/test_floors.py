"""The house of docs/architecture.md: a floor uses the floors below it, never one above."""

from __future__ import annotations

import ast
from pathlib import Path

import sorawm_pipeline

ROOT = Path(sorawm_pipeline.__file__).parent
FLOORS = {
    1: ("errors", "report", "logs", "native_log", "state", "snapshot", "wire_path", "hardware"),
    2: ("config", "config_sections", "config_keys", "marked_yaml", "media", "engine", "models"),
    3: ("vision",),
    4: ("stages", "learn"),
    5: (
        "budget",
        "readings",
        "warm",
        "job",
        "walks",
        "scheduling",
        "scouting",
        "segments",
        "clip_run",
        "pipeline",
        "preview",
        "doctor",
    ),
    6: ("plan", "batch", "cluster", "compat", "service"),
    7: ("console", "demo", "cli", "__main__"),
}
FLOOR_OF = {name: floor for floor, names in FLOORS.items() for name in names}
BLIND = {"engine": {"errors"}}  # the engine has never heard of video


def imports(path: Path) -> set[str]:
    """Top-level names inside the package that a file imports."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module:
            parts = node.module.split(".")
            if parts[0] == "sorawm_pipeline":
                found |= {parts[1]} if len(parts) > 1 else {alias.name for alias in node.names}
        elif isinstance(node, ast.Import):
            names = (alias.name.split(".") for alias in node.names)
            found |= {p[1] for p in names if p[0] == "sorawm_pipeline" and len(p) > 1}
    return found & FLOOR_OF.keys()


def test_every_module_has_its_floor() -> None:
    names = {p.stem for p in ROOT.glob("*.py")} | {
        p.parent.name for p in ROOT.glob("*/__init__.py")
    }
    assert names - {"__init__"} == set(FLOOR_OF)


def test_no_floor_uses_one_above_it() -> None:
    wrong = []
    for path in ROOT.rglob("*.py"):
        own = path.relative_to(ROOT).with_suffix("").parts[0]
        if own == "__init__":
            continue
        wrong += [f"{own} uses {used}" for used in imports(path) if FLOOR_OF[used] > FLOOR_OF[own]]
    assert wrong == []


def test_the_engine_knows_only_errors() -> None:
    for path in (ROOT / "engine").glob("*.py"):
        assert imports(path) <= {"engine"} | BLIND["engine"]
