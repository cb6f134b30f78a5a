"""torch.compile for networks: kernels fused, and on CUDA replayed as graphs, or neither."""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

from sorawm_pipeline.errors import ModelError
from sorawm_pipeline.hardware.batch_cap import is_out_of_memory
from sorawm_pipeline.vision.caches import private_cache

if TYPE_CHECKING:
    import torch

GRAPHS, PLAIN = "reduce-overhead", "default"
"""Modes of torch.compile: with kernels replayed as CUDA graphs, and without."""

CACHE = "TORCHINDUCTOR_CACHE_DIR"

CALLS = 3
"""Calls until nothing is new: compiled at the first, recorded at the second, replayed from then."""


class Compiled:
    """A network compiled as far as that goes; whatever fails at a call, the call is made good.

    First with CUDA graphs (where there is CUDA), then without, then the network as it is.

    Args:
        network: any number of tensors in; not called with gradients.
        cuda: whether it runs on CUDA.

    Attributes:
        fallback: why it is not compiled, or without graphs; None if it is.
    """

    def __init__(self, network: Callable[..., Any], *, cuda: bool) -> None:
        self._network = network
        self._modes: Iterator[str] = iter((GRAPHS, PLAIN) if cuda else (PLAIN,))
        self._reasons: list[str] = []
        keep_compiled()
        self._call = self._next()

    @property
    def fallback(self) -> str | None:
        return "; ".join(self._reasons) or None

    def __call__(self, *args: Any, **named: Any) -> Any:
        try:
            return self._call(*args, **named)
        except Exception as error:  # compilers fail in many ways
            if is_out_of_memory(error) or self._call is self._network:
                raise
            self._reasons.append(_reason(self._mode, error))
        self._call = self._next()
        return self(*args, **named)

    def _next(self) -> Callable[..., Any]:
        """The network in the next mode, as it is after the last."""
        import torch

        mode = next(self._modes, None)
        if mode is None:
            return self._network
        self._mode = mode
        compiled: Callable[..., Any] = torch.compile(self._network, dynamic=True, mode=mode)
        return compiled


def keep_compiled() -> None:
    """Have torch keep what it compiles for the next run, where nobody else can write.

    It would keep it in a folder of a name that anybody can guess, and unpickles what it finds.
    What the user has set is respected.
    """
    if CACHE in os.environ:
        return
    try:
        folder = str(private_cache("compiled"))
    except ModelError:
        folder = tempfile.mkdtemp(prefix="sorawm-compiled-")
        atexit.register(shutil.rmtree, folder, ignore_errors=True)
    os.environ[CACHE] = folder


def filled_up(batch: torch.Tensor) -> torch.Tensor:
    """A batch (n, ...) with blanks after it, up to 2, 4, 8 or a further power of two.

    For every other size of batch a graph is recorded, which takes time and memory, and a batch of
    one is compiled apart from all others.
    """
    import torch

    size = max(2, 1 << (len(batch) - 1).bit_length())
    return torch.cat([batch, batch.new_zeros((size - len(batch), *batch.shape[1:]))])


def warm_up(call: Callable[[NDArray[Any]], object], sample: NDArray[Any]) -> None:
    """Have all done now that first calls do."""
    for _ in range(CALLS):
        call(sample)


def _reason(mode: str, error: Exception) -> str:
    told = next(iter(str(error).strip().splitlines()), "")
    what = "it cannot be compiled" if mode == PLAIN else "no CUDA graphs"
    return f"{what} ({type(error).__name__}: {told})"
