"""The built-in detector's ONNX graph with other numbers in it.

The architecture does not change in fine-tuning, so the graph that ships, and is tested, is kept;
only the values of its initializers and its metadata are replaced. That needs neither the `onnx`
package nor torch's exporter, only the wire format of Protocol Buffers. Field numbers are those of
`onnx.proto`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
from numpy.typing import NDArray

from sorawm_pipeline.errors import ModelError

_MODEL_GRAPH, _MODEL_METADATA = 7, 14
_GRAPH_INITIALIZER = 5
_TENSOR_TYPE, _TENSOR_NAME, _TENSOR_RAW = 2, 8, 9
_FLOAT = 1
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_WIDTH = {_FIXED64: 8, _FIXED32: 4}


def filled(
    graph: bytes, values: Mapping[str, NDArray[np.float32]], metadata: Mapping[str, str]
) -> bytes:
    """Return an ONNX model with new values for every initializer and new metadata.

    Args:
        graph: a serialized ModelProto whose initializers are named 32-bit floats in `raw_data`.
        values: initializer name to array of the same number of elements.
        metadata: what Ultralytics reads: task, names, stride, image size.

    Raises:
        ModelError: the graph's initializers are not exactly those in `values`.
    """
    left = dict(values)
    model = bytearray()
    for number, wire, content in _fields(graph):
        if number == _MODEL_METADATA:
            continue
        if number == _MODEL_GRAPH and isinstance(content, bytes):
            body = bytearray()
            for part, kind, inside in _fields(content):
                if part == _GRAPH_INITIALIZER and isinstance(inside, bytes):
                    inside = _tensor(inside, left)
                body += _field(part, kind, inside)
            content = bytes(body)
        model += _field(number, wire, content)
    if left:
        raise ModelError(f"the graph has no place for {next(iter(left))}")
    for key, value in metadata.items():
        entry = _field(1, _BYTES, key.encode()) + _field(2, _BYTES, value.encode())
        model += _field(_MODEL_METADATA, _BYTES, entry)
    return bytes(model)


def _tensor(content: bytes, left: dict[str, NDArray[np.float32]]) -> bytes:
    """Replace one TensorProto's data with what `left` holds for it, taking it from there."""
    parts = list(_fields(content))
    known = {number: value for number, _, value in parts}
    label, raw = known.get(_TENSOR_NAME), known.get(_TENSOR_RAW)
    if not (isinstance(label, bytes) and isinstance(raw, bytes)):
        raise ModelError("the graph has an initializer without a name or raw data")
    name = label.decode()
    array = left.pop(name, None)
    if array is None or known.get(_TENSOR_TYPE) != _FLOAT or len(raw) != 4 * array.size:
        raise ModelError(f"the trained network has no fitting values for {name}")
    data = np.ascontiguousarray(array, "<f4").tobytes()
    return b"".join(
        _field(number, wire, data if number == _TENSOR_RAW else value)
        for number, wire, value in parts
    )


def _fields(message: bytes) -> Iterator[tuple[int, int, int | bytes]]:
    """Yield (field number, wire type, value) of a serialized message."""
    at = 0
    while at < len(message):
        key, at = _varint(message, at)
        number, wire = key >> 3, key & 7
        if wire == _VARINT:
            value, at = _varint(message, at)
            yield number, wire, value
            continue
        if wire == _BYTES:
            length, at = _varint(message, at)
        elif wire in _WIDTH:
            length = _WIDTH[wire]
        else:
            raise ModelError(f"the graph uses the unknown wire type {wire}")
        yield number, wire, message[at : at + length]
        at += length


def _varint(message: bytes, at: int) -> tuple[int, int]:
    """Return the number at an offset and the offset behind it."""
    value = shift = 0
    while True:
        byte = message[at]
        at += 1
        value |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            return value, at


def _number(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def _field(number: int, wire: int, value: int | bytes) -> bytes:
    head = _number(number << 3 | wire)
    if isinstance(value, int):
        return head + _number(value)
    return head + (_number(len(value)) if wire == _BYTES else b"") + value
