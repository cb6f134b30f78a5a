"""Networks on the CPU, from ONNX files, sharing the machine with decoder and encoder."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from sorawm_pipeline.errors import ModelError
from sorawm_pipeline.vision.weights import Weights

if TYPE_CHECKING:
    import onnxruntime

Floats = NDArray[np.float32]
CpuRuntime = Literal["onnxruntime", "openvino"]
Precision = Literal["fp32", "bf16", "fp16", "int8"]


class CpuNetwork(Protocol):
    """A network with one input and one output that counts."""

    runtime: CpuRuntime
    precision: Precision
    sha256: str

    def __call__(self, batch: Floats) -> Floats: ...


class OnnxNetwork:
    """In ONNX Runtime. Any number of threads may call it.

    Attributes:
        input_shape: of its first input; None where any size will do.
        metadata: what its maker wrote into the file.
    """

    runtime: CpuRuntime = "onnxruntime"

    def __init__(
        self, weights: Weights, threads: int | None = None, precision: Precision = "fp32"
    ) -> None:
        """Load the network.

        Args:
            weights: an ONNX file.
            threads: for one call; None leaves it to the runtime.
            precision: of the file, for the report.

        Raises:
            ModelError: the file is no network that can be run.
        """
        import onnxruntime

        self.precision = precision
        self.sha256 = weights.sha256
        try:
            self._session = onnxruntime.InferenceSession(
                str(weights.path), session_options(threads), providers=["CPUExecutionProvider"]
            )
        except Exception as error:  # onnxruntime's own errors share no public base
            raise ModelError(f"{weights.path} cannot be loaded: {error}") from error
        taken = self._session.get_inputs()[0]
        self._input, self._output = taken.name, self._session.get_outputs()[0].name
        self._type = np.float16 if taken.type == "tensor(float16)" else np.float32
        self.input_shape = tuple(n if isinstance(n, int) else None for n in taken.shape)
        self.metadata: dict[str, str] = self._session.get_modelmeta().custom_metadata_map

    def __call__(self, batch: Floats) -> Floats:
        batch = batch.astype(self._type, copy=False)
        return np.asarray(self._session.run([self._output], {self._input: batch})[0], np.float32)


class OpenVinoNetwork:
    """In OpenVINO: floats as brain floats (bf16), or a file of 8-bit integers. One thread."""

    runtime: CpuRuntime = "openvino"

    def __init__(
        self, weights: Weights, threads: int | None = None, precision: Precision = "bf16"
    ) -> None:
        """Compile the network.

        Args:
            weights: an ONNX file.
            threads: for one call; None leaves it to the runtime.
            precision: `bf16`, or `int8` for a file that holds integers.

        Raises:
            ModelError: OpenVINO is not installed, the processor has no such numbers, or the
                network does not compile.
        """
        openvino = _openvino()
        self.sha256, self.precision = weights.sha256, precision
        try:
            core = openvino.Core()
            if precision.upper() not in core.get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
                raise ModelError(f"this processor has no {precision}")
            floats = "bf16" if precision == "bf16" else "f32"
            hints = {"NUM_STREAMS": 1, "INFERENCE_PRECISION_HINT": floats}
            if threads:
                hints["INFERENCE_NUM_THREADS"] = threads
            compiled = core.compile_model(core.read_model(str(weights.path)), "CPU", hints)
            self._request = compiled.create_infer_request()
        except RuntimeError as error:
            raise ModelError(f"OpenVINO: {str(error).strip().splitlines()[-1]}") from error

    def __call__(self, batch: Floats) -> Floats:
        return np.asarray(self._request.infer({0: batch})[0], np.float32)


def session_options(threads: int | None = None) -> onnxruntime.SessionOptions:
    """Options of a session that keeps to `threads` and leaves idle cores alone.

    Args:
        threads: for one call; None leaves it to the runtime.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads or 0
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    # By default a worker thread spins between calls, which takes cores from decode and encode.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return options


def _openvino() -> Any:
    """The library, kept from reporting its use: without its reporter it has nothing to do so."""
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
    try:
        import openvino
    except ImportError as error:
        raise ModelError(f"OpenVINO cannot be imported: {error}", kind="missing") from error
    return openvino
