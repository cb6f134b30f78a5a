"""Networks in 8-bit integers, with the ranges of all values told by what they are given."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
from onnxruntime.quantization.shape_inference import quant_pre_process

Floats = NDArray[np.float32]


class Reader(CalibrationDataReader):  # type: ignore[misc] # published without types
    def __init__(self, name: str, batches: Iterable[Floats]) -> None:
        self._name = name
        self._batches: Iterator[Floats] = iter(batches)

    def get_next(self) -> dict[str, Floats] | None:
        batch = next(self._batches, None)
        return None if batch is None else {self._name: batch}


def quantise(
    source: Path,
    target: Path,
    batches: Iterable[Floats],
    kept: Callable[[list[onnx.NodeProto]], list[str]],
    **options: Any,
) -> None:
    """Write an ONNX network with most weights, and what they are multiplied with, in 8 bits.

    Weights keep 7 bits, so that processors which add pairs of products in 16 bits (AVX2) cannot
    overflow.

    Args:
        source: with one input.
        target: what to write.
        batches: what the network may be given.
        kept: names of the nodes that stay as they are, of all nodes in order.
        options: more of `quantize_static`.
    """
    with tempfile.TemporaryDirectory() as folder:
        prepared = Path(folder, "prepared.onnx")
        quant_pre_process(str(source), str(prepared), skip_symbolic_shape=True)
        graph = onnx.load(prepared).graph
        quantize_static(
            str(prepared),
            str(target),
            Reader(graph.input[0].name, batches),
            quant_format=QuantFormat.QDQ,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            per_channel=True,
            reduce_range=True,
            nodes_to_exclude=kept(list(graph.node)),
            **options,
        )
