"""Networks on the CPU, from ONNX files, sharing the machine with decoder and encoder."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from sorawm_pipeline.errors import ModelError
from sorawm_pipeline.vision.weights import Weights

if TYPE_CHECKING:
    import onnxruntime

Floats = NDArray[np.float32]
WINS, ENOUGH = 1.2, 2.0
"""Times that a form must be faster than the best before it to be taken; and than the plain one, to
spare the forms after it, for OpenVINO takes time and memory to be tried at all."""

APART, APART_INT8 = 0.01, 0.1
"""Mean difference of the answers, which are of the order of 1, from which it is not taken: of a
network in bf16, and of one in 8-bit integers, whose ranges do not fit a sample of noise."""

TRIALS = 3
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
    """In OpenVINO, brain floats (bf16) on processors that multiply them in matrices. One thread."""

    runtime: CpuRuntime = "openvino"
    precision: Precision = "bf16"

    def __init__(self, weights: Weights, threads: int | None = None) -> None:
        """Compile the network.

        Raises:
            ModelError: OpenVINO is not installed, the processor has no bf16, or the network does
                not compile.
        """
        openvino = _openvino()
        self.sha256 = weights.sha256
        try:
            core = openvino.Core()
            if "BF16" not in core.get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
                raise ModelError("this processor has no bf16")
            hints = {"NUM_STREAMS": 1, "INFERENCE_PRECISION_HINT": "bf16"}
            if threads:
                hints["INFERENCE_NUM_THREADS"] = threads
            compiled = core.compile_model(core.read_model(str(weights.path)), "CPU", hints)
            self._request = compiled.create_infer_request()
        except RuntimeError as error:
            raise ModelError(f"OpenVINO: {str(error).strip().splitlines()[-1]}") from error

    def __call__(self, batch: Floats) -> Floats:
        return np.asarray(self._request.infer({0: batch})[0], np.float32)


def fastest(
    weights: Weights,
    sample: Floats,
    threads: int | None = None,
    int8: Weights | None = None,
    form: Precision | None = None,
) -> tuple[CpuNetwork, str | None]:
    """The network in a form that answers sooner, and why in none of them.

    Args:
        weights: an ONNX file.
        sample: a batch as it may come, to try each form with.
        threads: for one call; None leaves it to the runtime.
        int8: the same network in 8-bit integers.
        form: the only one to try, so that the answers are those of another process that chose it.

    Raises:
        ModelError: the file is no network that can be run.
    """
    best: CpuNetwork = OnnxNetwork(weights, threads)
    answer = best(sample)
    exact = quickest = _seconds(best, sample)
    forms: list[tuple[str, Callable[[], CpuNetwork], float]] = []
    if int8 is not None and form in (None, "int8"):
        forms.append(("int8", lambda: OnnxNetwork(int8, threads, "int8"), APART_INT8))
    if form in (None, "bf16"):
        forms.append(("OpenVINO", lambda: OpenVinoNetwork(weights, threads), APART))
    reasons = []
    for name, load, most_apart in forms:
        if quickest * ENOUGH <= exact:
            break
        try:
            network = load()
            apart = float(np.abs(network(sample) - answer).mean())
        except (ModelError, RuntimeError) as error:
            reasons.append(f"{name}: {error}")
            continue
        if not apart <= most_apart:
            reasons.append(f"{name}: its answers differ by {apart:.3f}")
            continue
        if form is not None:
            return network, None
        seconds = _seconds(network, sample)
        if seconds * WINS <= quickest:
            best, quickest = network, seconds
        else:
            reasons.append(f"{name}: {exact / max(seconds, 1e-9):.2f} times as fast")
    return best, "; ".join(reasons) if quickest == exact else None


def _seconds(network: CpuNetwork, sample: Floats) -> float:
    def once() -> float:
        began = time.perf_counter()
        network(sample)
        return time.perf_counter() - began

    return min(once() for _ in range(TRIALS))


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
