"""Train the detector on shards of crops; write a checkpoint after every round.

    python training/train.py --shards SHARDS --run RUN --minutes 60

A round draws 4,000 crops from all shards present by then, so crops may be made while it trains.
The learning rate follows the clock: it falls to nothing when the minutes are over. The same
command goes on from the last checkpoint; `--start WEIGHTS` begins a new run from given weights.
"""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import network
import numpy as np
import torch
from numpy.typing import NDArray
from options import run_parser
from run import Run
from safetensors.torch import load_file

SIZE = 192
BATCH = 32
ROUND = 4000
RATE = 4e-3
MARGIN = 0.25  # pixels added round a mark: its soft edge reaches further than the label's threshold


def window(
    boxes: NDArray[np.float32], side: int, rng: np.random.Generator
) -> tuple[int, int, NDArray[np.float32]]:
    """Choose the (y, x) of a window in a crop; also return the boxes (n, 4) inside, moved to it.

    Mostly around one of the marks; a mark cut in two is a good example of nothing and avoided.
    """
    boxes = boxes[boxes[:, 0] >= 0]
    low, high = np.zeros(2, np.int64), np.full(2, side - SIZE)
    if len(boxes) and rng.random() < 0.85:
        box = boxes[rng.integers(len(boxes))]
        low = np.clip(np.ceil(box[2:] - SIZE), 0, side - SIZE).astype(np.int64)
        high = np.maximum(low, np.clip(np.floor(box[:2]), 0, side - SIZE).astype(np.int64))
    for _ in range(6):
        x, y = (int(v) for v in rng.integers(low, high + 1))
        moved = boxes - np.array([x, y, x, y], np.float32)
        inside = np.clip(moved, 0, SIZE)
        area = np.prod(moved[:, 2:] - moved[:, :2], 1)
        share = np.prod(inside[:, 2:] - inside[:, :2], 1) / area
        if ((share == 0) | (share > 0.8)).all():
            break
    return y, x, inside[share > 0.4]


def draw(
    images: list[NDArray[np.uint8]], boxes: list[NDArray[np.float32]], rng: np.random.Generator
) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    """One batch: random SIZE windows of random crops, with colours and brightness varied."""
    pictures = np.empty((BATCH, SIZE, SIZE, 3), np.uint8)
    targets: list[list[float]] = []
    for number in range(BATCH):
        shard = int(rng.integers(len(images)))
        row = int(rng.integers(len(images[shard])))
        y, x, inside = window(boxes[shard][row], images[shard].shape[1], rng)
        picture = images[shard][row, y : y + SIZE, x : x + SIZE]
        pictures[number] = picture[..., rng.permutation(3)] if rng.random() < 0.3 else picture
        targets += [[number, *(float(v) for v in box)] for box in inside]
    tensor = torch.from_numpy(pictures).permute(0, 3, 1, 2).float().div_(255)
    gain = torch.from_numpy(rng.uniform(0.8, 1.15, (BATCH, 1, 1, 1)).astype(np.float32))
    shift = torch.from_numpy(rng.uniform(-0.06, 0.06, (BATCH, 1, 1, 1)).astype(np.float32))
    tensor = (tensor * gain + shift).clamp_(0, 1).contiguous(memory_format=torch.channels_last)
    table = torch.tensor(targets, dtype=torch.float32).reshape(-1, 5)
    centre = (table[:, 1:3] + table[:, 3:5]) / 2 / SIZE
    extent = (table[:, 3:5] - table[:, 1:3] + 2 * MARGIN) / SIZE
    return tensor, {
        "batch_idx": table[:, 0],
        "cls": torch.zeros(len(table)),
        "bboxes": torch.cat([centre, extent], 1),
    }


def shards(folder: Path) -> tuple[list[NDArray[np.uint8]], list[NDArray[np.float32]]]:
    files = sorted(folder.glob("*.images.npy"), key=lambda f: f.name)
    return (
        [np.load(f, mmap_mode="r") for f in files],
        [np.load(str(f).replace(".images.", ".boxes.")) for f in files],
    )


def main() -> None:
    parser = run_parser(__doc__, rate=RATE, seed=20)
    parser.add_argument("--architecture", type=Path, default=network.ARCHITECTURE)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    torch.manual_seed(arguments.seed)

    from ultralytics.utils.loss import v8DetectionLoss

    model = network.build(arguments.architecture)
    model.args = SimpleNamespace(box=7.5, cls=1.0, dfl=1.5)
    model.to(memory_format=torch.channels_last)
    if arguments.start:
        model.load_state_dict(load_file(arguments.start))
    decayed = [p for p in model.parameters() if p.ndim > 1]
    plain = [p for p in model.parameters() if p.ndim <= 1]
    optimizer = torch.optim.AdamW(
        [{"params": decayed, "weight_decay": 5e-4}, {"params": plain, "weight_decay": 0.0}],
        lr=arguments.rate,
        betas=(0.9, 0.99),
    )
    run = Run(
        arguments.run,
        model,
        optimizer,
        rate=arguments.rate,
        minutes=arguments.minutes,
        warm_up=150,
    )
    loss_of = v8DetectionLoss(model)
    while not run.over:
        images, boxes = shards(arguments.shards)
        rng = np.random.default_rng([arguments.seed, run.rounds])
        model.train()
        sums = np.zeros(3)
        for _ in range(ROUND // BATCH):
            run.begin_step()
            picture, target = draw(images, boxes, rng)
            loss, parts = loss_of(model(picture), target)
            run.take_step(loss.sum() / BATCH, longest=10.0)
            sums += [float(v) for v in parts.values()]
            run.end_step()
        run.end_round()
        line = {"round": run.rounds, "minutes": round(run.spent / 60, 1), "shards": len(images)}
        line |= dict(zip(parts, (sums / (ROUND // BATCH)).round(4).tolist(), strict=True))
        print(json.dumps(line), flush=True)


if __name__ == "__main__":
    main()
