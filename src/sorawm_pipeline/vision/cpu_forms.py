"""Which form of a network answers soonest on this processor, found by trying."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from sorawm_pipeline.errors import ModelError
from sorawm_pipeline.hardware.libraries import give_back
from sorawm_pipeline.vision.cpu_networks import (
    CpuNetwork,
    Floats,
    OnnxNetwork,
    OpenVinoNetwork,
    Precision,
)
from sorawm_pipeline.vision.weights import Weights

WINS, ENOUGH = 1.2, 2.0
"""Times that a form must be faster than the best before it to be taken; and than the plain one, to
spare the forms after it, for OpenVINO takes time and memory to be tried at all."""

APART, APART_INT8 = 0.01, 0.1
"""Difference of the answers, which are of the order of 1, from which it is not taken: of a
network in bf16, and of one in 8-bit integers, whose ranges do not fit a sample of noise."""

TRIALS = 3


@dataclass(frozen=True, slots=True)
class Form:
    """Another form of a network.

    Attributes:
        name: what to call it if it is not taken.
        precision: of its products.
        load: raises ModelError where it cannot be had.
        most_apart: from the plain one's answers.
    """

    name: str
    precision: Precision
    load: Callable[[], CpuNetwork]
    most_apart: float


def integers(weights: Weights, threads: int | None) -> Form:
    """8-bit integers in ONNX Runtime."""
    return Form("int8", "int8", lambda: OnnxNetwork(weights, threads, "int8"), APART_INT8)


def openvino_integers(weights: Weights, threads: int | None) -> Form:
    """8-bit integers in OpenVINO, for networks with activations that ONNX Runtime does apart."""
    return Form(
        "OpenVINO int8", "int8", lambda: OpenVinoNetwork(weights, threads, "int8"), APART_INT8
    )


def brain_floats(weights: Weights, threads: int | None) -> Form:
    """bf16 in OpenVINO."""
    return Form("OpenVINO", "bf16", lambda: OpenVinoNetwork(weights, threads), APART)


def mean_difference(one: Floats, other: Floats) -> float:
    return float(np.abs(one - other).mean())


def fastest(
    plain: CpuNetwork,
    sample: Floats,
    forms: Sequence[Form],
    only: Precision | None = None,
    difference: Callable[[Floats, Floats], float] = mean_difference,
) -> tuple[CpuNetwork, str | None]:
    """The network in a form that answers sooner, and why in none of them.

    What a form in OpenVINO took is given back if it is not taken.

    Args:
        plain: the network as it is.
        sample: a batch as it may come, to try each form with.
        forms: in the order in which to try them.
        only: take a form of that precision if it works at all, be it faster or not, so that the
            answers are those of another process that chose it; the plain one is `fp32`.
        difference: of two answers.
    """
    if only is not None:
        forms = [form for form in forms if form.precision == only]
    if not forms:
        return plain, None
    chosen, reasons = _tried(plain, sample, forms, difference, at_once=only is not None)
    if chosen.runtime != "openvino" and "openvino" in sys.modules:
        give_back("openvino")
    return chosen, "; ".join(reasons) if chosen is plain else None


def _tried(
    plain: CpuNetwork,
    sample: Floats,
    forms: Sequence[Form],
    difference: Callable[[Floats, Floats], float],
    *,
    at_once: bool,
) -> tuple[CpuNetwork, list[str]]:
    """The form to take (the first that works, if at once), and what spoke against others."""
    best, answer = plain, plain(sample)
    exact = quickest = _seconds(plain, sample)
    reasons = []
    for form in forms:
        if quickest * ENOUGH <= exact:
            break
        try:
            network = form.load()
            apart = difference(network(sample), answer)
        except (ModelError, RuntimeError) as error:
            reasons.append(f"{form.name}: {error}")
            continue
        if not apart <= form.most_apart:
            reasons.append(f"{form.name}: its answers differ by {apart:.3f}")
            continue
        if at_once:
            return network, reasons
        seconds = _seconds(network, sample)
        if seconds * WINS <= quickest:
            best, quickest = network, seconds
        else:
            reasons.append(f"{form.name}: {exact / max(seconds, 1e-9):.2f} times as fast")
    return best, reasons


def _seconds(network: CpuNetwork, sample: Floats) -> float:
    def once() -> float:
        began = time.perf_counter()
        network(sample)
        return time.perf_counter() - began

    return min(once() for _ in range(TRIALS))
