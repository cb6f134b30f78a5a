"""Networks that torch compiles as far as that goes."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from sorawm_pipeline.vision.compiling import (
    CACHE,
    CALLS,
    GRAPHS,
    PLAIN,
    Compiled,
    filled_up,
    keep_compiled,
    warm_up,
)

Modes = list[tuple[str, bool]]


@pytest.fixture
def compiler(monkeypatch: pytest.MonkeyPatch) -> Callable[[dict[str, Exception]], Modes]:
    """Puts a torch.compile in place that fails in some modes; what it was asked is told."""
    import torch

    def put(fails: dict[str, Exception]) -> Modes:
        asked: Modes = []

        def compile(network: Callable[..., Any], *, dynamic: bool, mode: str) -> Callable[..., Any]:  # noqa: A001
            asked.append((mode, dynamic))

            def call(*args: Any, **named: Any) -> Any:
                if mode in fails:
                    raise fails[mode]
                return mode, network(*args, **named)

            return call

        monkeypatch.setattr(torch, "compile", compile)
        monkeypatch.setenv(CACHE, "unused")
        return asked

    return put


Compiler = Callable[[dict[str, Exception]], Modes]


def double(number: int, plus: int = 0) -> int:
    return 2 * number + plus


def test_on_cuda_kernels_are_replayed_as_graphs(compiler: Compiler) -> None:
    asked = compiler({})
    network = Compiled(double, cuda=True)
    assert network(3, plus=1) == (GRAPHS, 7)
    assert network.fallback is None
    assert asked == [(GRAPHS, True)]


def test_without_cuda_there_are_no_graphs(compiler: Compiler) -> None:
    compiler({})
    assert Compiled(double, cuda=False)(3) == (PLAIN, 6)


def test_where_graphs_fail_the_rest_is_kept(compiler: Compiler) -> None:
    compiler({GRAPHS: RuntimeError("cannot capture\nand much more")})
    network = Compiled(double, cuda=True)
    assert network(3) == (PLAIN, 6)
    assert network(4) == (PLAIN, 8)
    assert network.fallback == "no CUDA graphs (RuntimeError: cannot capture)"


def test_where_nothing_works_the_network_runs_as_it_is(compiler: Compiler) -> None:
    compiler({GRAPHS: RuntimeError("cannot capture"), PLAIN: OSError("no compiler")})
    network = Compiled(double, cuda=True)
    assert network(3) == 6
    assert network.fallback == (
        "no CUDA graphs (RuntimeError: cannot capture); "
        "it cannot be compiled (OSError: no compiler)"
    )


def test_a_later_call_may_fail_too(compiler: Compiler) -> None:
    fails: dict[str, Exception] = {}
    compiler(fails)
    network = Compiled(double, cuda=False)
    assert network(3) == (PLAIN, 6)
    fails[PLAIN] = RuntimeError("another shape")
    assert network(4) == 8
    assert network.fallback == "it cannot be compiled (RuntimeError: another shape)"


def test_memory_that_runs_out_is_no_reason_to_give_up(compiler: Compiler) -> None:
    import torch

    fails: dict[str, Exception] = {GRAPHS: torch.OutOfMemoryError("CUDA out of memory")}
    compiler(fails)
    network = Compiled(double, cuda=True)
    with pytest.raises(torch.OutOfMemoryError):
        network(3)
    fails.clear()
    assert network(3) == (GRAPHS, 6)


def test_what_the_network_itself_raises_is_raised(compiler: Compiler) -> None:
    def broken(_: int) -> int:
        raise ValueError("no such input")

    compiler({})
    with pytest.raises(ValueError, match="no such input"):
        Compiled(broken, cuda=True)(3)


@given(st.integers(1, 100))
def test_batches_have_few_sizes_and_keep_what_is_in_them(count: int) -> None:
    import torch

    batch = torch.arange(1, count + 1, dtype=torch.uint8)[:, None]
    filled = filled_up(batch)
    assert (filled[:count] == batch).all()
    assert not filled[count:].any()
    assert filled.dtype == batch.dtype
    assert len(filled) in {2**power for power in range(1, 8)}
    assert len(filled) < max(3, 2 * count)


def test_warming_up_lasts_until_graphs_are_replayed() -> None:
    sizes: list[int] = []

    def call(batch: NDArray[np.float32]) -> None:
        sizes.append(len(batch))

    warm_up(call, np.zeros((1, 3), np.float32))
    assert sizes == [1] * CALLS


def test_what_is_compiled_is_kept_where_nobody_else_can_write(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(CACHE, "")
    monkeypatch.delenv(CACHE)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    keep_compiled()
    folder = tmp_path / "sorawm-pipeline" / "compiled"
    assert os.environ[CACHE] == str(folder)
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    del os.environ[CACHE]
    folder.chmod(0o777)
    keep_compiled()
    assert not os.environ[CACHE].startswith(str(tmp_path))
    assert stat.S_IMODE(Path(os.environ[CACHE]).stat().st_mode) == 0o700


def test_what_the_user_has_set_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(CACHE, "elsewhere")
    keep_compiled()
    assert os.environ[CACHE] == "elsewhere"
