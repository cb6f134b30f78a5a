r"""Train one of the two see-through networks on shards of samples; a checkpoint every round.

    python training/train_restorer.py matte --shards SHARDS --held-out HELD --run RUN --minutes 60
    python training/train_restorer.py fill --shards SHARDS --held-out HELD --run RUN --minutes 90 \
        [--matte MATTE.safetensors]

`matte` learns opacity and colour of the overlay from what a few frames and its run look like on the
mean. `fill` learns the clean picture from one frame, the matte and what inverting it gives; the
matte is the true one, spoilt, or with `--matte` more often that network's, read anew each round.

A round draws 3,200 samples from all shards present by then. The learning rate follows the clock.
The same command goes on from the last checkpoint; `--start WEIGHTS` begins from given weights.
"""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from options import run_parser
from run import Run
from safetensors.torch import load_file
from see_through import BYTES, CHROMA, FIELDS, GREY, HEIGHT, LUMA, WIDTH
from torch import Tensor
from torch.nn import functional

from sorawm_pipeline.vision.see_through import BIASES, COVERED, STEEPEST
from sorawm_pipeline.vision.unet import UNet

BATCH = 16
ROUND = 3200
RATE = 2.5e-3
Fields = dict[str, Tensor]


def fields(rows: NDArray[np.uint8]) -> Fields:
    """Samples (n, BYTES) as planes on the half grid, 0..1: luma as 4 channels, then chroma as 2."""
    table, at = torch.from_numpy(rows.astype(np.float32) / 255), 0
    planes = {}
    for name in FIELDS:
        luma = table[:, at : at + LUMA].reshape(-1, 1, HEIGHT, WIDTH)
        planes[name] = functional.pixel_unshuffle(luma, 2)
        at += LUMA
        if name not in GREY:
            chroma = table[:, at : at + CHROMA].reshape(-1, 2, HEIGHT // 2, WIDTH // 2)
            planes[name] = torch.cat([planes[name], chroma], 1)
            at += CHROMA
    assert at == BYTES
    return planes


def mirrored(planes: Fields, rng: np.random.Generator) -> Fields:
    """The samples upside down, half of the time: words stay readable, scenes do not repeat."""
    if rng.random() < 0.5:
        return planes
    order = [2, 3, 0, 1, 4, 5]  # the rows of a 2x2 block change places
    return {
        name: torch.flip(p[:, order[: p.shape[1]]], (2,)).contiguous() for name, p in planes.items()
    }


def boxes(alpha: Tensor, rng: np.random.Generator) -> Tensor:
    """The overlay's box (n, 1, h, w), 0 or 1, a little larger than it is."""
    inside = torch.zeros_like(alpha[:, :1])
    for number, shown in enumerate((alpha.amax(1) > 0.05).numpy()):
        rows, columns = np.flatnonzero(shown.any(1)), np.flatnonzero(shown.any(0))
        if rows.size:
            before, after = rng.integers(0, 4, 2), rng.integers(1, 5, 2)
            y0, x0 = max(0, rows[0] - before[0]), max(0, columns[0] - before[1])
            inside[number, 0, y0 : rows[-1] + after[0], x0 : columns[-1] + after[1]] = 1
    return inside


def six(alpha: Tensor) -> Tensor:
    """Opacity of luma (n, 4, h, w) as that of luma and chroma (n, 6, h, w)."""
    return torch.cat([alpha, alpha.mean(1, keepdim=True).expand(-1, 2, -1, -1)], 1)


def inverted(marked: Tensor, alpha: Tensor, tone: Tensor) -> Tensor:
    """What must have been under an overlay, if its opacity and tone are right; 0..1."""
    cover = six(alpha)
    return ((marked - cover * tone) / (1 - cover).clamp_min(STEEPEST)).clamp(0, 1)


def matte_input(planes: Fields, rng: np.random.Generator) -> Tensor:
    """What the matte network sees: means of frames, the mark's box, and an earlier matte."""
    pictures = torch.cat([planes["short"], planes["long"]], 1) - 0.5
    earlier, _ = spoilt(planes["earlier"], planes["tone"], rng)
    shift = [int(v) for v in rng.integers(-1, 2, 2)] if rng.random() < 0.3 else [0, 0]
    moved = torch.roll(functional.pixel_shuffle(earlier, 2), shift, (2, 3))
    known = torch.from_numpy(rng.random(len(earlier)) < 0.65)[:, None, None, None]
    earlier = functional.pixel_unshuffle(moved, 2) * known
    return torch.cat([pictures, boxes(planes["alpha"], rng) - 0.5, earlier], 1)


def matte_of(output: Tensor) -> tuple[Tensor, Tensor]:
    """Opacity (n, 4, h, w) and tone (n, 6, h, w) from the network's output, 0..1."""
    matte = torch.sigmoid(output - torch.from_numpy(BIASES))
    return matte[:, :4], matte[:, 4:]


def matte_loss(model: UNet, planes: Fields, rng: np.random.Generator) -> dict[str, Tensor]:
    alpha, tone = matte_of(model(matte_input(planes, rng)))
    truth = planes["alpha"]
    # Where the overlay is as bright as the scene, nobody can tell its opacity and nobody needs to.
    seen = 0.15 + (planes["tone"][:, :4] - planes["clean"][:, :4]).abs()
    near = functional.max_pool2d(truth.amax(1, keepdim=True), 7, 1, 3) > COVERED
    weight = seen * (0.2 + near)
    certain = alpha.clamp(1e-4, 1 - 1e-4)
    surprise = functional.binary_cross_entropy(certain, truth, reduction="none")
    wrong = (weight * (surprise + 2 * (alpha - truth).abs())).sum() / weight.sum()
    cover = six(truth)
    colour = (cover * (tone - planes["tone"]).abs()).mean()
    back = inverted(planes["clean"] * (1 - cover) + cover * planes["tone"], alpha, tone)
    light = ((back - planes["clean"]).abs() * (cover > COVERED) * (cover < 0.9)).mean()
    return {"alpha": wrong, "tone": 2 * colour, "light": 2 * light}


def spoilt(alpha: Tensor, tone: Tensor, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
    """A true matte with errors such as an estimate has."""
    count = len(alpha)
    scale = torch.from_numpy(1 + rng.normal(0, 0.025, (count, 1, 1, 1)).astype(np.float32))
    rough = torch.from_numpy(rng.normal(0, 0.02, (count, 1, 12, 16)).astype(np.float32))
    wave = functional.interpolate(rough, alpha.shape[2:], mode="bilinear")
    shape = functional.pixel_shuffle(alpha, 2)
    blur = functional.avg_pool2d(functional.pad(shape, (1, 1, 1, 1), mode="replicate"), 3, 1)
    mix = torch.from_numpy(rng.uniform(-0.25, 0.5, (count, 1, 1, 1)).astype(np.float32))
    shape = functional.pixel_unshuffle(shape + (blur - shape) * mix, 2)
    grain = 0.01 * torch.randn(alpha.shape)
    guess = (shape * (scale + wave) + grain * (shape > COVERED)).clamp(0, 1)
    shift = torch.from_numpy(rng.normal(0, 0.015, (count, 6, 1, 1)).astype(np.float32))
    return guess, (tone + shift).clamp(0, 1)


def fill_input(marked: Tensor, alpha: Tensor, tone: Tensor) -> tuple[Tensor, Tensor]:
    """The network's input, and the inverted picture that its output is added to."""
    base = inverted(marked, alpha, tone)
    return torch.cat([marked - 0.5, alpha, base - 0.5], 1), base


def fill_loss(
    model: UNet, planes: Fields, rng: np.random.Generator, matte: UNet | None
) -> dict[str, Tensor]:
    alpha, tone = spoilt(planes["alpha"], planes["tone"], rng)
    if matte is not None:
        with torch.no_grad():
            found = matte_of(matte(matte_input(planes, rng)))
        some = torch.from_numpy(rng.random(len(alpha)) < 0.6)[:, None, None, None]
        alpha, tone = torch.where(some, found[0], alpha), torch.where(some, found[1], tone)
    data, base = fill_input(planes["marked"], alpha, tone)
    output = model(data)
    error = base + output[:, :6] - planes["clean"]
    inside = six(planes["alpha"]) > COVERED
    weight = inside + 0.05
    picture = (weight * ((error**2 + 0.02**2).sqrt() - 0.02)).sum() / weight.sum()
    doubt = output[:, 6:].clamp(-12, 2)
    squared = (error[:, :4].detach() ** 2 + 1e-5).clamp_max(1)
    spread = functional.avg_pool2d(squared, 3, 1, 1)
    nll = doubt + spread / doubt.exp()
    return {"picture": 10 * picture, "doubt": 0.02 * nll[inside[:, :4]].mean()}


@torch.no_grad()
def judged(
    kind: str, model: UNet, held: list[NDArray[np.uint8]], matte: UNet | None
) -> dict[str, float]:
    """Figures on held-out samples: dB inside, pooled; of plain inversion too."""
    rng = np.random.default_rng(0)
    wrong: dict[str, list[float]] = {}
    for shard in held:
        for at in range(0, len(shard), 48):
            planes = fields(shard[at : at + 48])
            truth, clean = planes["alpha"], planes["clean"][:, :4]
            inside = truth > COVERED
            if kind == "matte" or matte is not None:
                alpha, tone = matte_of((matte or model)(matte_input(planes, rng)))
            else:
                alpha, tone = spoilt(planes["alpha"], planes["tone"], rng)
            data, base = fill_input(planes["marked"], alpha, tone)
            wrong.setdefault("alpha_error", []).append(float((alpha - truth)[inside].abs().mean()))
            results = {"inverted": base[:, :4]}
            true_base = inverted(planes["marked"], truth, planes["tone"])[:, :4]
            results["inverted_true"] = true_base
            if kind == "fill":
                results["filled"] = (base + model(data)[:, :6])[:, :4].clamp(0, 1)
            for opaque, where in (("", inside & (truth < 0.97)), ("_opaque", truth >= 0.97)):
                for name, picture in results.items():
                    if where.any():
                        squared = float(((picture - clean)[where] ** 2).mean())
                        wrong.setdefault(name + opaque, []).append(squared)
    return {
        name: round(float(np.mean(v)) if "alpha" in name else -10 * math.log10(np.mean(v)), 4)
        for name, v in wrong.items()
    }


def main() -> None:
    parser = run_parser(__doc__, rate=RATE, seed=40)
    parser.add_argument("kind", choices=("matte", "fill"))
    parser.add_argument("--held-out", type=Path, required=True)
    parser.add_argument("--matte", type=Path)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    torch.manual_seed(arguments.seed)
    channels = {"matte": (17, 10), "fill": (16, 10)}
    model = UNet(*channels[arguments.kind]).to(memory_format=torch.channels_last)
    if arguments.start:
        state = load_file(arguments.start)
        stem, fresh = state["stem.weight"], model.stem.weight
        if stem.shape != fresh.shape:  # inputs were added: they count for nothing at first
            missing = torch.zeros_like(fresh[:, stem.shape[1] :])
            state["stem.weight"] = torch.cat([stem, missing], 1)
        model.load_state_dict(state)
    matte = None
    if arguments.matte:
        matte = UNet(*channels["matte"])
        matte.load_state_dict(load_file(arguments.matte))
    optimizer = torch.optim.AdamW(
        model.parameters(), lr=arguments.rate, betas=(0.9, 0.99), weight_decay=1e-3
    )
    held = [np.load(f) for f in sorted(arguments.held_out.glob("*.npy"))]
    run = Run(
        arguments.run,
        model,
        optimizer,
        rate=arguments.rate,
        minutes=arguments.minutes,
        warm_up=200,
    )
    while not run.over:
        shards = [np.load(f, mmap_mode="r") for f in sorted(arguments.shards.glob("*.npy"))]
        if matte is not None:  # it may be training beside us
            matte.load_state_dict(load_file(arguments.matte))
        rng = np.random.default_rng([arguments.seed, run.rounds])
        sums: dict[str, float] = {}
        for _ in range(ROUND // BATCH):
            run.begin_step()
            shard = shards[int(rng.integers(len(shards)))]
            first = int(rng.integers(len(shard) - BATCH + 1))
            planes = mirrored(fields(shard[first : first + BATCH]), rng)
            if arguments.kind == "matte":
                losses = matte_loss(model, planes, rng)
            else:
                losses = fill_loss(model, planes, rng, matte)
            run.take_step(torch.stack(list(losses.values())).sum(), longest=1.0)
            for name, loss in losses.items():
                sums[name] = sums.get(name, 0.0) + float(loss.detach())
            run.end_step()
        run.end_round()
        line = {"round": run.rounds, "minutes": round(run.spent / 60, 1), "shards": len(shards)}
        means = {name: round(total / (ROUND // BATCH), 4) for name, total in sums.items()}
        print(
            json.dumps(line | means | judged(arguments.kind, run.average, held, matte)), flush=True
        )


if __name__ == "__main__":
    main()
