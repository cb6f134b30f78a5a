"""What the commands of this folder ask for alike."""

from __future__ import annotations

import argparse
from pathlib import Path


def plain_parser(description: str | None) -> argparse.ArgumentParser:
    """A parser that shows a module's docstring as it stands."""
    return argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawTextHelpFormatter
    )


def shard_parser(description: str | None, count: int, seed: int) -> argparse.ArgumentParser:
    """For what makes numbered shards from the cache of backgrounds."""
    asked = plain_parser(description)
    asked.add_argument("--cache", type=Path, required=True)
    asked.add_argument("--output", type=Path, required=True)
    asked.add_argument("--first", type=int, default=0)
    asked.add_argument("--count", type=int, default=count)
    asked.add_argument("--seed", type=int, default=seed)
    return asked


def clip_parser(description: str | None, seed: int) -> argparse.ArgumentParser:
    """For what makes clips from the cache's held-out pictures and a text."""
    asked = plain_parser(description)
    asked.add_argument("--cache", type=Path, required=True)
    asked.add_argument("--text", type=Path, required=True)
    asked.add_argument("--output", type=Path, required=True)
    asked.add_argument("--seed", type=int, default=seed)
    return asked


def run_parser(description: str | None, rate: float, seed: int) -> argparse.ArgumentParser:
    """For what trains a network on shards."""
    asked = plain_parser(description)
    asked.add_argument("--shards", type=Path, required=True)
    asked.add_argument("--run", type=Path, required=True)
    asked.add_argument("--minutes", type=float, default=60)
    asked.add_argument("--start", type=Path)
    asked.add_argument("--rate", type=float, default=rate)
    asked.add_argument("--seed", type=int, default=seed)
    asked.add_argument("--threads", type=int, default=2)
    return asked
