"""The network's way into a file, and the whole lesson."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from sorawm_pipeline import cli
from sorawm_pipeline.errors import ModelError, OutputError
from sorawm_pipeline.learn import lesson
from sorawm_pipeline.learn.graph import filled
from sorawm_pipeline.learn.lesson import learn, onnx_of
from sorawm_pipeline.learn.publish import Pair
from sorawm_pipeline.vision.detector import Detector
from sorawm_pipeline.vision.ultralytics_backend import network_of
from sorawm_pipeline.vision.weights import Weights, builtin_weights, digest_of, find_weights

Say = pytest.CaptureFixture[str]


def test_a_changed_network_gives_the_same_marks_in_both_runtimes(tmp_path: Path) -> None:
    import torch
    from safetensors.torch import load_file, save_file

    start = builtin_weights("safetensors")
    state = load_file(start.path)
    torch.manual_seed(4)
    for name, value in state.items():
        if name.endswith("conv.weight"):
            state[name] = value * (1 + 0.02 * torch.randn(value.shape))
    changed = tmp_path / "changed.safetensors"
    save_file(state, changed)
    weights = Weights("a", changed, "safetensors", digest_of(changed), start.architecture)
    in_torch = Detector(weights, confidence=0.0)
    network = network_of(weights)
    model = tmp_path / "changed.onnx"
    model.write_bytes(onnx_of(network, "logo", start))
    in_onnx = Detector(find_weights(model), confidence=0.0)
    image = np.random.default_rng(1).integers(0, 255, (1, 96, 160, 3), np.uint8)
    (expected,), (found,) = in_torch.detect(image), in_onnx.detect(image)
    assert len(found) == len(expected) > 0
    assert found[0].box == pytest.approx(expected[0].box, abs=0.05)
    assert found[0].confidence == pytest.approx(expected[0].confidence, abs=1e-4)


def test_a_network_that_does_not_fit_the_graph_is_refused() -> None:
    graph = builtin_weights("onnx").path.read_bytes()
    with pytest.raises(ModelError, match="no fitting values"):
        filled(graph, {}, {})
    wrong: dict[str, NDArray[np.float32]] = {"model.0.conv.weight": np.zeros(3, np.float32)}
    with pytest.raises(ModelError, match=r"model\.0\.conv\.weight"):
        filled(graph, wrong, {})


def test_both_files_are_published_or_neither(tmp_path: Path) -> None:
    pair = Pair(tmp_path / "mark.png", tmp_path / "w", overwrite=False)
    pair.write(b"model")
    (tmp_path / "w.onnx").write_bytes(b"of another program")
    with pytest.raises(OutputError, match="meanwhile"):
        pair.publish({})
    pair.discard()
    assert [p.name for p in tmp_path.iterdir()] == ["w.onnx"]


@pytest.mark.parametrize("name", ["w", "w.onnx"])
def test_the_output_may_be_named_either_way(tmp_path: Path, name: str) -> None:
    pair = Pair(tmp_path / "mark.png", tmp_path / name, overwrite=False)
    assert pair.model.path.name == "w.onnx"
    assert pair.card.path.name == "w.json"


def train(*words: object) -> int:
    return cli.call(["train", *map(str, words)])


def test_an_existing_output_is_refused_before_any_work(
    logo: Path, tmp_path: Path, capsys: Say
) -> None:
    (tmp_path / "w.json").write_text("mine")
    assert train("--mark", logo, "--output", tmp_path / "w") == 1
    assert "--overwrite" in capsys.readouterr().err
    assert (tmp_path / "w.json").read_text() == "mine"
    assert not (tmp_path / "w.onnx").exists()


@pytest.mark.parametrize(
    ("words", "status"),
    [
        (("--minutes", 0), 2),
        (("--minutes", "nan"), 2),
        (("--seed", -1), 2),
        (("--seed", "x"), 2),
        (("--text", ""), 2),
        (("--backgrounds", "/nowhere/at/all"), 2),
        (("--nonsense",), 2),
        (("--device", "gpu"), 1),
        (("--device", "cuda:99"), 1),
    ],
)
def test_wrong_words_leave_nothing(
    logo: Path, tmp_path: Path, words: tuple[object, ...], status: int, capsys: Say
) -> None:
    before = sorted(tmp_path.iterdir())
    assert train("--mark", logo, "--output", tmp_path / "w", *words) == status
    assert capsys.readouterr().err
    assert sorted(tmp_path.iterdir()) == before


def test_a_mark_is_needed(tmp_path: Path) -> None:
    assert train("--output", tmp_path / "w") == 2
    assert train("--mark", tmp_path / "none.png", "--output", tmp_path / "w") == 1
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_a_lesson_ends_in_weights_that_a_pipeline_takes(
    logo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lesson, "_PICTURES", 6)
    shares: list[float] = []
    learned = learn(
        logo,
        tmp_path / "w",
        text="@name",
        minutes=0.02,
        seed=7,
        progress=lambda share, loss: shares.append(share if loss == loss else -1),
    )
    assert shares == sorted(shares)
    assert shares[0] >= 0
    card = json.loads(learned.card.read_text())
    assert card["recipe"]["seed"] == 7
    assert set(card["measured"]) >= {"recall", "mean_iou", "false_marks", "confidence"}
    found = find_weights(learned.model)
    assert (found.sha256, found.confidence) == (card["sha256"], card["confidence"])
    assert found.image_size == builtin_weights().image_size
    assert Detector(found).detect(np.zeros((1, 64, 64, 3), np.uint8)) == [[]]
    assert sorted(p.name for p in tmp_path.iterdir()) == ["logo.png", "w.json", "w.onnx"]


@pytest.mark.slow
def test_an_interrupt_leaves_nothing(logo: Path, tmp_path: Path) -> None:
    words = ["train", "--mark", str(logo), "--output", str(tmp_path / "w"), "--minutes", "5"]
    program = subprocess.Popen(
        [sys.executable, "-m", "sorawm_pipeline", *words], stderr=subprocess.PIPE, text=True
    )
    assert program.stderr is not None
    for line in program.stderr:
        if ", loss " in line:
            os.kill(program.pid, signal.SIGINT)
            break
    assert program.wait(timeout=110) == cli.INTERRUPTED
    program.stderr.close()
    assert [p.name for p in tmp_path.iterdir()] == ["logo.png"]
