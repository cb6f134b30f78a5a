"""What stands in deploy/: that a container is built from files that are there, and starts."""

from __future__ import annotations

import json
import shlex
import tomllib
from pathlib import Path

import yaml

from sorawm_pipeline.config import PipelineConfig

ROOT = Path(__file__).parents[1]
DOCKERFILE = (ROOT / "deploy/Dockerfile").read_text()


def instructions(name: str) -> list[str]:
    """What follows an instruction of the Dockerfile, continued lines joined."""
    lines = DOCKERFILE.replace("\\\n", " ").splitlines()
    return [line.removeprefix(name).strip() for line in lines if line.startswith(f"{name} ")]


def copied() -> set[str]:
    """Files and folders that come from the project."""
    taken = [shlex.split(line) for line in instructions("COPY")]
    return {name for words in taken if not words[0].startswith("--") for name in words[:-1]}


def test_what_is_copied_is_there() -> None:
    assert "src" in copied()
    assert [name for name in copied() if not (ROOT / name).exists()] == []


def test_what_the_build_reads_is_copied() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    needed = {"pyproject.toml", "constraints.txt", project["readme"], *project["license-files"]}
    assert needed <= copied()


def test_the_command_is_one_that_the_program_knows() -> None:
    (command,) = (json.loads(line) for line in instructions("CMD"))
    (entry,) = (json.loads(line) for line in instructions("ENTRYPOINT"))
    assert entry == ["sorawm-pipeline"]
    verb, config, *options = command
    assert verb == "run"
    assert any(line.endswith(config) for line in instructions("COPY"))
    assert options[::2] == ["--watch", "--output", "--log-format"]
    PipelineConfig.from_yaml(ROOT / "pipeline.yaml")


def test_the_volumes_belong_to_the_user_who_runs() -> None:
    (user,) = instructions("USER")
    assert f"-o {user} -g {user} /var/lib/sorawm-pipeline /videos" in DOCKERFILE


def test_compose_builds_from_here() -> None:
    compose = yaml.safe_load((ROOT / "deploy/compose.yaml").read_text())
    for service in compose["services"].values():
        build = service["build"]
        assert (ROOT / "deploy" / build["context"]).resolve() == ROOT
        assert (ROOT / build["dockerfile"]).is_file()
