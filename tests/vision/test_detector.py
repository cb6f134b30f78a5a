from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import ClassVar

import cv2
import numpy as np
import pytest
import yaml
from numpy.typing import NDArray

from sorawm_pipeline.errors import DeviceError, ModelError
from sorawm_pipeline.vision import onnx_backend
from sorawm_pipeline.vision.compiling import CACHE
from sorawm_pipeline.vision.detector import Detector, _decode
from sorawm_pipeline.vision.onnx_backend import OnnxBackend
from sorawm_pipeline.vision.ultralytics_backend import UltralyticsBackend
from sorawm_pipeline.vision.weights import builtin_weights, find_weights

Box = tuple[float, float, float, float]


@pytest.fixture(scope="module")
def detector() -> Iterator[Detector]:
    made = Detector(builtin_weights("onnx"), threads=1)
    yield made
    made.close()


def scene(width: int, height: int, seed: int = 1) -> NDArray[np.uint8]:
    """A soft colourful picture (height, width, 3)."""
    noise = np.random.default_rng(seed).uniform(20, 170, (6, 6, 3)).astype(np.float32)
    large = cv2.resize(noise, (width, height), interpolation=cv2.INTER_CUBIC)
    return np.asarray(large.clip(0, 255), np.uint8)


def draw_mark(picture: NDArray[np.uint8], x: int, y: int, width: int) -> Box:
    """Draw, in place, a plain stand-in of the mark: a lobed disc with two eyes, and a word."""
    big = np.zeros((300, 760), np.uint8)
    angles = np.linspace(0, 2 * np.pi, 240)
    radius = 118 + 16 * np.abs(np.cos(3 * angles))
    outline = np.stack([150 + radius * np.cos(angles), 150 + radius * np.sin(angles)], 1)
    cv2.fillPoly(big, [outline.astype(np.int32)], 255, cv2.LINE_AA)
    for eye in (116, 184):
        cv2.ellipse(big, (eye, 130), (15, 25), 0, 0, 360, 0, -1, cv2.LINE_AA)
    cv2.putText(big, "Sora", (335, 205), cv2.FONT_HERSHEY_SIMPLEX, 5.2, 255, 26, cv2.LINE_AA)
    rows, columns = np.flatnonzero((big > 25).any(1)), np.flatnonzero((big > 25).any(0))
    big = big[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    height = round(width * big.shape[0] / big.shape[1])
    small = cv2.resize(big, (width, height), interpolation=cv2.INTER_AREA)
    alpha = 0.75 * small[..., None].astype(np.float32) / 255
    under = picture[y : y + height, x : x + width]
    picture[y : y + height, x : x + width] = (under * (1 - alpha) + 255 * alpha).astype(np.uint8)
    return float(x), float(y), float(x + width), float(y + height)


def iou(a: Box, b: Box) -> float:
    across = max(0.0, min(a[2], b[2]) - max(a[0], b[0]))
    down = max(0.0, min(a[3], b[3]) - max(a[1], b[1]))
    areas = sum((c[2] - c[0]) * (c[3] - c[1]) for c in (a, b))
    return across * down / (areas - across * down)


@pytest.mark.parametrize(
    ("shown", "wanted"),
    [
        ((704, 1280), (352, 640)),
        ((1280, 704), (640, 352)),
        ((1920, 1080), (640, 352)),
        ((3840, 2160), (640, 352)),
        ((480, 360), (640, 480)),
        ((720, 720), (640, 640)),
        ((176, 144), (640, 512)),
        ((5000, 10), (640, 32)),
        ((1, 1), (640, 640)),
    ],
)
def test_input_size_keeps_the_aspect(
    detector: Detector, shown: tuple[int, int], wanted: tuple[int, int]
) -> None:
    assert detector.input_size(*shown) == wanted


@pytest.mark.parametrize("size", [(640, 352), (352, 640), (640, 640), (640, 480)])
def test_finds_a_mark_and_nothing_else(detector: Detector, size: tuple[int, int]) -> None:
    picture = scene(*size)
    truth = draw_mark(picture, 30, 60, round(0.21 * min(size)))
    (found,) = detector.detect(picture[None])[0]
    assert iou(found.box, truth) > 0.7
    assert detector.detect(scene(*size)[None]) == [[]]


def test_finds_several_marks_most_confident_first(detector: Detector) -> None:
    picture = scene(640, 352)
    truths = [draw_mark(picture, 20, 30, 80), draw_mark(picture, 500, 280, 80)]
    found = detector.detect(picture[None])[0]
    assert len(found) == 2
    assert all(max(iou(d.box, truth) for d in found) > 0.7 for truth in truths)
    assert found[0].confidence >= found[1].confidence


def test_a_picture_gets_the_same_answer_alone_and_in_a_batch(detector: Detector) -> None:
    batch = np.stack([scene(640, 352, seed) for seed in range(3)])
    draw_mark(batch[1], 400, 200, 80)
    together = detector.detect(batch)
    assert [len(found) for found in together] == [0, 1, 0]
    (alone,) = detector.detect(batch[1:2])[0]
    assert alone.box == pytest.approx(together[1][0].box, abs=0.01)


def test_accepts_views_that_are_not_contiguous(detector: Detector) -> None:
    picture = scene(640, 352)
    draw_mark(picture, 400, 200, 80)
    padded = np.zeros((1, 400, 700, 3), np.uint8)
    padded[0, 20:372, 30:670] = picture
    assert detector.detect(padded[:, 20:372, 30:670]) == detector.detect(picture[None])


def test_threshold_decides_what_is_reported() -> None:
    picture = scene(640, 352)
    draw_mark(picture, 400, 200, 80)
    strict = Detector(builtin_weights("onnx"), confidence=1.0, threads=1)
    assert strict.detect(picture[None]) == [[]]


def test_torch_and_onnx_agree(detector: Detector) -> None:
    in_torch = Detector(builtin_weights("safetensors"))
    picture = scene(640, 352)
    draw_mark(picture, 100, 250, 80)
    (one,), (other,) = detector.detect(picture[None])[0], in_torch.detect(picture[None])[0]
    assert (detector.runtime, in_torch.runtime) == ("onnxruntime", "torch")
    assert one.box == pytest.approx(other.box, abs=0.2)
    assert one.confidence == pytest.approx(other.confidence, abs=0.01)


def test_says_what_it_runs(detector: Detector) -> None:
    assert detector.device == "cpu"
    assert detector.weights_sha256 == builtin_weights("onnx").sha256


@pytest.fixture(scope="module")
def integers() -> Detector:
    made = Detector(builtin_weights("onnx"), threads=1, form="int8")
    if made.fallback is not None:
        pytest.skip(made.fallback)
    return made


@pytest.mark.parametrize("size", [(640, 352), (352, 640), (640, 640)])
def test_integers_find_the_same(
    detector: Detector, integers: Detector, size: tuple[int, int]
) -> None:
    pictures = np.stack([scene(*size, seed) for seed in (1, 2)])
    draw_mark(pictures[1], 30, 60, round(0.21 * min(size)))
    nothing, (found,) = integers.detect(pictures)
    (expected,) = detector.detect(pictures)[1]
    assert nothing == []
    assert found != expected, "they are other numbers"
    assert found.box == pytest.approx(expected.box, abs=2)
    assert found.confidence == pytest.approx(expected.confidence, abs=0.05)


def test_integers_say_what_they_are(integers: Detector) -> None:
    assert (integers.runtime, integers.precision) == ("openvino", "int8")
    assert integers.weights_sha256 == builtin_weights("int8").sha256


def test_without_openvino_there_are_no_integers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "openvino", None)
    weights = builtin_weights("onnx")
    for form in ("int8", None):
        made = Detector(weights, threads=1, form=form)
        assert (made.runtime, made.precision) == ("onnxruntime", "fp32")
        assert made.weights_sha256 == weights.sha256
        assert str(made.fallback).startswith("OpenVINO int8: OpenVINO cannot be imported")
    assert Detector(weights, threads=1).fallback is None


def test_weights_of_others_have_no_integers(tmp_path: Path) -> None:
    path = tmp_path / "sora-detector.onnx"
    shutil.copyfile(builtin_weights("onnx").path, path)
    with path.open("ab") as file:
        file.write(b"\x72\x00")  # an empty entry more: the same network, another file
    weights = replace(find_weights(path), name="sora-detector")
    asked = Detector(weights, threads=1, form="int8")
    assert asked.precision == "fp32"
    assert asked.fallback == "there is no file of these weights in 8-bit integers"
    assert Detector(weights, threads=1, form=None).fallback is None


def test_an_empty_batch_is_no_work(detector: Detector) -> None:
    assert detector.detect(np.zeros((0, 352, 640, 3), np.uint8)) == []


@pytest.mark.parametrize(
    "images",
    [
        np.zeros((1, 352, 640, 3), np.float32),
        np.zeros((352, 640, 3), np.uint8),
        np.zeros((1, 352, 640, 4), np.uint8),
    ],
)
def test_refuses_what_is_no_batch_of_pictures(
    detector: Detector, images: NDArray[np.uint8]
) -> None:
    with pytest.raises(ValueError, match="uint8 RGB"):
        detector.detect(images)


def test_a_closed_detector_says_so() -> None:
    closed = Detector(builtin_weights("onnx"), threads=1)
    closed.warm_up(64, 32, batch=2)
    closed.close()
    closed.close()
    with pytest.raises(RuntimeError, match="closed"):
        closed.detect(np.zeros((1, 32, 64, 3), np.uint8))


@pytest.mark.parametrize("name", ["bad.onnx", "bad.torchscript", "bad.pt", "bad.safetensors"])
@pytest.mark.parametrize("content", [b"", b"not weights at all" * 50])
def test_malformed_weights_are_a_model_error(tmp_path: Path, name: str, content: bytes) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    if path.suffix == ".safetensors":
        architecture = builtin_weights("safetensors").architecture
        assert architecture is not None
        path.with_suffix(".yaml").write_bytes(architecture.read_bytes())
    with pytest.raises(ModelError, match=r"bad\."):
        Detector(find_weights(path, allow_pickle=True))


def test_weights_of_another_network_are_a_model_error(tmp_path: Path) -> None:
    builtin = builtin_weights("safetensors")
    assert builtin.architecture is not None
    other = tmp_path / "other.yaml"
    other.write_text(builtin.architecture.read_text().replace("[8, 3, 2]", "[24, 3, 2]"))
    with pytest.raises(ModelError, match="cannot be loaded"):
        Detector(replace(builtin, architecture=other))


def test_an_architecture_cannot_run_code(tmp_path: Path) -> None:
    builtin = builtin_weights("safetensors")
    assert builtin.architecture is not None
    proof = tmp_path / "ran"
    evil = tmp_path / "evil.yaml"
    call = f"__import__('pathlib').Path('{proof}').touch()"
    evil.write_text(builtin.architecture.read_text() + f'activation: "{call}"\n')
    with pytest.raises(ModelError):
        Detector(replace(builtin, architecture=evil))
    assert not proof.exists()


def test_a_pickle_cannot_run_code(tmp_path: Path) -> None:
    import torch

    proof = tmp_path / "ran"
    path = tmp_path / "evil.pt"
    torch.save({"model": _Touch(proof)}, path)
    with pytest.raises(ModelError):
        Detector(find_weights(path, allow_pickle=True))
    assert not proof.exists()


class _Touch:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[Path]]:
        return Path.touch, (self.path,)


def test_a_gpu_that_is_not_there_is_a_device_error() -> None:
    with pytest.raises(DeviceError, match="cuda:63"):
        Detector(builtin_weights("safetensors"), device="cuda:63")


@pytest.fixture
def compiler(monkeypatch: pytest.MonkeyPatch) -> Callable[[Exception], None]:
    """Has torch.compile fail as compilers do, when what it made is called."""
    import torch

    def put(error: Exception) -> None:
        def compile(*_: object, **__: object) -> Callable[..., None]:  # noqa: A001
            def call(*_: object, **__: object) -> None:
                raise error

            return call

        monkeypatch.setattr(torch, "compile", compile)
        monkeypatch.setenv(CACHE, "unused")

    return put


def test_a_network_that_cannot_be_compiled_runs_as_it_is(
    compiler: Callable[[Exception], None],
) -> None:
    compiler(RuntimeError("no compiler\nand much more"))
    made = Detector(builtin_weights("safetensors"), compile=True, threads=1)
    assert made.fallback == "it cannot be compiled (RuntimeError: no compiler)"
    plain = Detector(builtin_weights("safetensors"), threads=1)
    pictures = np.random.default_rng(0).integers(0, 255, (3, 64, 96, 3), np.uint8)
    assert plain.fallback is None
    assert made.detect(pictures) == plain.detect(pictures)


def test_memory_that_runs_out_while_compiling_is_told(
    compiler: Callable[[Exception], None],
) -> None:
    import torch

    compiler(torch.OutOfMemoryError("CUDA out of memory"))
    with pytest.raises(torch.OutOfMemoryError):
        Detector(builtin_weights("safetensors"), compile=True, threads=1)


def test_a_compiled_network_gets_batches_of_few_sizes(monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    sizes: list[int] = []

    def compile(network: torch.nn.Module, **_: object) -> Callable[..., object]:  # noqa: A001
        def call(batch: torch.Tensor, **named: object) -> object:
            sizes.append(len(batch))
            return network(batch, **named)

        return call

    monkeypatch.setattr(torch, "compile", compile)
    monkeypatch.setenv(CACHE, "unused")
    made = Detector(builtin_weights("safetensors"), compile=True, threads=1)
    assert set(sizes) == {2}
    plain = Detector(builtin_weights("safetensors"), threads=1)
    pictures = np.stack([scene(160, 96, seed) for seed in range(3)])
    draw_mark(pictures[2], 30, 20, 60)
    found, expected = made.detect(pictures), plain.detect(pictures)
    assert sizes[-1] == 4
    assert [len(some) for some in found] == [0, 0, 1]
    assert found[2][0].box == pytest.approx(expected[2][0].box, abs=0.01)


TINY = """
nc: 1
end2end: False
reg_max: 1
scales: {n: [1.0, 1.0, 1024]}
backbone: [[-1, 1, Conv, [8, 3, 2]], [-1, 1, Conv, [8, 3, 2]], [-1, 1, Conv, [8, 3, 2]]]
head: [[[1, 2], 1, Detect, [nc]]]
"""


@pytest.mark.timeout(300)  # torch traces the network symbolically, which takes a busy machine long
def test_a_network_is_compiled_once_as_a_whole(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """With all of torch's compiler but what makes code of the graphs."""
    import torch
    from safetensors.torch import save_file
    from torch._dynamo.testing import CompileCounter
    from ultralytics.nn.tasks import DetectionModel

    architecture, path = tmp_path / "tiny.yaml", tmp_path / "tiny.safetensors"
    architecture.write_text(TINY)
    save_file(DetectionModel(yaml.safe_load(TINY) | {"scale": "n"}).state_dict(), path)
    counter, real = CompileCounter(), torch.compile

    def compile(network: Callable[..., object], *, dynamic: bool, mode: str) -> object:  # noqa: A001
        assert mode == "default"
        return real(network, dynamic=dynamic, backend=counter, fullgraph=True)

    monkeypatch.setattr(torch, "compile", compile)
    monkeypatch.setenv(CACHE, "unused")

    def backend(*, compiled: bool) -> UltralyticsBackend:
        return UltralyticsBackend(
            find_weights(path), "cpu", half=False, compiled=compiled, engine_size=None, threads=1
        )

    made, plain = backend(compiled=True), backend(compiled=False)
    for size in ((64, 96), (96, 64), (96, 96)):
        for count in (1, 3):
            pictures = np.stack([scene(*size, seed) for seed in range(count)])
            assert np.allclose(made(pictures), plain(pictures), atol=1e-4)
    assert made.fallback is None
    assert counter.frame_count == 1


def column(box: Box, score: float) -> list[float]:
    x0, y0, x1, y1 = box
    return [(x0 + x1) / 2, (y0 + y1) / 2, x1 - x0, y1 - y0, score]


def test_boxes_of_one_mark_become_one_box() -> None:
    raw = np.array(
        [
            column((100, 50, 180, 80), 0.9),
            column((102, 50, 182, 80), 0.9),
            column((100, 52, 126, 78), 0.6),  # the icon alone, inside
            column((300, 50, 380, 80), 0.5),
            column((300, 90, 380, 120), 0.1),
        ],
        np.float32,
    ).T
    first, second = _decode(raw, 0.4, 640, 352)
    assert first.box == pytest.approx((101, 50, 181, 80))
    assert first.confidence == pytest.approx(0.9)
    assert second.box == pytest.approx((300, 50, 380, 80))


def test_boxes_are_cut_at_the_border() -> None:
    raw = np.array([column((-10, -5, 60, 30), 0.8), column((650, 10, 700, 30), 0.8)], np.float32).T
    (found,) = _decode(raw, 0.4, 640, 352)
    assert found.box == (0, 0, 60, 30)
    assert found.confidence == pytest.approx(0.8)


def test_end_to_end_rows_are_understood() -> None:
    raw = np.zeros((300, 6), np.float32)
    raw[0] = (10, 20, 90, 50, 0.7, 0)
    (found,) = _decode(raw, 0.4, 640, 352)
    assert found.box == (10, 20, 90, 50)
    assert found.confidence == pytest.approx(0.7)


def test_an_onnx_detector_needs_no_torch() -> None:
    program = """
import sys
from sorawm_pipeline.vision.compiling import CACHE
from sorawm_pipeline.vision.detector import Detector
from sorawm_pipeline.vision.weights import builtin_weights
Detector(builtin_weights("onnx"), threads=1).warm_up(64, 32)
assert not {"torch", "ultralytics", "openvino"} & set(sys.modules)
"""
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)


class FixedBatch:
    """A network exported for one picture at a time, of one size."""

    metadata: ClassVar[dict[str, str]] = {"task": "detect", "stride": "16"}
    input_shape: tuple[int | None, ...] = (1, 3, 32, 64)

    def __call__(self, batch: NDArray[np.float32]) -> NDArray[np.float32]:
        assert batch.shape == self.input_shape
        return np.asarray(batch.mean(axis=(2, 3)) * 255, np.float32)


def test_a_network_for_one_picture_is_asked_once_for_each(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(onnx_backend, "OnnxNetwork", lambda *_: FixedBatch())
    backend = OnnxBackend(builtin_weights("onnx"), None)
    assert (backend.stride, backend.fixed) == (16, (64, 32))
    pictures = np.stack([np.full((32, 64, 3), value, np.uint8) for value in (10, 20, 30)])
    assert backend(pictures)[:, 0] == pytest.approx([10, 20, 30])


@pytest.mark.parametrize(
    ("said", "shape", "message"),
    [({"task": "segment"}, (1, 3, 32, 64), "segment"), ({}, (1, 4, 32, 64), "RGB")],
)
def test_an_onnx_network_of_another_kind_is_a_model_error(
    monkeypatch: pytest.MonkeyPatch, said: dict[str, str], shape: tuple[int, ...], message: str
) -> None:
    other = SimpleNamespace(metadata=said, input_shape=shape)
    monkeypatch.setattr(onnx_backend, "OnnxNetwork", lambda *_: other)
    with pytest.raises(ModelError, match=message):
        Detector(builtin_weights("onnx"))


def test_import_is_light_and_first_use_touches_no_home(tmp_path: Path) -> None:
    program = """
import sys
from sorawm_pipeline.vision.compiling import CACHE
from sorawm_pipeline.vision.detector import Detector
from sorawm_pipeline.vision.weights import builtin_weights
assert not {"torch", "ultralytics", "onnxruntime", "cv2"} & set(sys.modules)
Detector(builtin_weights("onnx"), threads=1).warm_up(64, 32)
"""
    home = tmp_path / "home"
    home.mkdir()
    scratch = tmp_path / "tmp"
    scratch.mkdir()
    result = subprocess.run(
        [sys.executable, "-c", program],
        env={"HOME": str(home), "TMPDIR": str(scratch), "PYTHONPATH": ":".join(sys.path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    assert result.stdout == ""
    assert list(home.iterdir()) == []
    assert list(scratch.iterdir()) == []
