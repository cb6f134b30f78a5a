"""Networks from ONNX files, in the runtimes that there are."""

from __future__ import annotations

import subprocess
import sys
from importlib.util import find_spec

import numpy as np
import pytest

from sorawm_pipeline.errors import ModelError
from sorawm_pipeline.vision.cpu_networks import OnnxNetwork, OpenVinoNetwork
from sorawm_pipeline.vision.see_through import FILL, MATTE
from sorawm_pipeline.vision.weights import builtin_weights

SAMPLE = np.random.default_rng(1).uniform(-0.5, 0.5, (2, 16, 24, 44)).astype(np.float32)


@pytest.fixture
def openvino() -> None:
    if find_spec("openvino") is None:
        pytest.skip("OpenVINO is not installed")
    try:
        OpenVinoNetwork(builtin_weights("onnx", FILL), threads=1)
    except ModelError as error:
        pytest.skip(str(error))


@pytest.mark.usefixtures("openvino")
@pytest.mark.parametrize(("name", "channels"), [(FILL, 16), (MATTE, 17)])
def test_both_runtimes_say_the_same_but_for_rounding(name: str, channels: int) -> None:
    weights = builtin_weights("onnx", name)
    sample = np.random.default_rng(3).uniform(-0.5, 0.5, (2, channels, 24, 44)).astype(np.float32)
    one, other = OnnxNetwork(weights, 1)(sample), OpenVinoNetwork(weights, 1)(sample)
    assert one.shape == other.shape
    assert float(np.abs(one - other).mean()) < 0.02 * float(np.abs(one).mean()) + 1e-3


@pytest.mark.parametrize("name", [FILL, MATTE])
def test_the_shipped_integers_say_nearly_the_same(name: str) -> None:
    """On a smooth ground under a bar, as regions are, not on noise, which no range was told by."""
    plain = OnnxNetwork(builtin_weights("onnx", name), 1)
    channels = plain.input_shape[1]
    y, x = np.mgrid[0:40, 0:88] / 88
    ground = 0.2 + 0.5 * x + 0.2 * y + 0.2 * (abs(y - 0.2) < 0.05)
    sample = np.repeat(ground[None, None], channels or 0, axis=1).astype(np.float32)
    int8 = OnnxNetwork(builtin_weights("int8", name), 1, "int8")
    one, other = plain(sample), int8(sample)
    assert 0 < float(np.abs(one - other).mean()) < 0.05 * float(np.abs(one).mean())


@pytest.mark.usefixtures("openvino")
def test_an_answer_stays_when_the_next_is_asked_for() -> None:
    network = OpenVinoNetwork(builtin_weights("onnx", FILL), threads=1)
    first = network(SAMPLE)
    kept = first.copy()
    network(-SAMPLE)
    assert (first == kept).all()


def test_openvino_has_nothing_to_report_its_use_with() -> None:
    if find_spec("openvino") is None:
        pytest.skip("OpenVINO is not installed")
    program = """
import sys
from sorawm_pipeline.vision.cpu_networks import _openvino
_openvino()
assert not [name for name in sys.modules if name.startswith("openvino_telemetry.")]
"""
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)
