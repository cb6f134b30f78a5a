"""A training run that follows the clock, averages its weights, and goes on from its checkpoint."""

from __future__ import annotations

import math
import time
from copy import deepcopy
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

STEADIEST = 0.998  # share of the averaged weights that a step keeps


class Run:
    """What a training loop keeps from step to step and from start to start.

    Attributes:
        average: the network with the mean of its latest weights; what is saved to be used.
        rounds: finished so far.
        spent: seconds of training so far.
    """

    def __init__(
        self,
        folder: Path,
        model: torch.nn.Module,
        optimizer: torch.optim.Optimizer,
        *,
        rate: float,
        minutes: float,
        warm_up: int,
    ) -> None:
        """Take up the checkpoint in `folder`, if there is one.

        Args:
            folder: made if missing; gets `last.safetensors` and `resume.pt`.
            model: as it starts, on its own or on given weights.
            optimizer: of its parameters.
            rate: learning rate at its peak; it falls as a cosine to a hundredth.
            minutes: of training, until the rate has fallen.
            warm_up: steps in which the rate rises.
        """
        self._folder = folder
        self._model = model
        self._optimizer = optimizer
        self._rate = rate
        self._limit = minutes * 60
        self._warm_up = warm_up
        self._step = 0
        self._began = 0.0
        self.average = deepcopy(model).eval()
        self.rounds, self.spent = 0, 0.0
        folder.mkdir(parents=True, exist_ok=True)
        self._resume = folder / "resume.pt"
        if self._resume.exists():
            state: dict[str, Any] = torch.load(self._resume, weights_only=True)
            model.load_state_dict(state["model"])
            self.average.load_state_dict(state["average"])
            optimizer.load_state_dict(state["optimizer"])
            self._step, self.spent, self.rounds = state["step"], state["spent"], state["rounds"]

    @property
    def over(self) -> bool:
        return self.spent >= self._limit

    def begin_step(self) -> None:
        """Start the clock and set the learning rate; then comes the data."""
        self._began = time.monotonic()
        warm = min(1.0, (self._step + 1) / self._warm_up)
        share = min(1.0, self.spent / self._limit)
        rate = self._rate * warm * (0.01 + 0.99 * (1 + math.cos(math.pi * share)) / 2)
        for group in self._optimizer.param_groups:
            group["lr"] = rate

    def take_step(self, loss: torch.Tensor, longest: float) -> None:
        """Move the weights against the loss, by a gradient of at most that length; average them."""
        self._optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(self._model.parameters(), longest)
        self._optimizer.step()
        self._step += 1
        keep = min(STEADIEST, 1 - 1 / (1 + self._step / 4))
        with torch.no_grad():
            fresh = self._model.state_dict()
            for name, value in self.average.state_dict().items():
                if value.dtype.is_floating_point:
                    value.lerp_(fresh[name], 1 - keep)
                else:
                    value.copy_(fresh[name])

    def end_step(self) -> None:
        self.spent += time.monotonic() - self._began

    def end_round(self) -> None:
        """Write the averaged weights, and a checkpoint, whole or not at all."""
        self.rounds += 1
        save_file(
            {k: v.contiguous() for k, v in self.average.state_dict().items()},
            self._folder / "last.safetensors",
        )
        partial = self._resume.with_suffix(".partial")
        torch.save(
            {
                "model": self._model.state_dict(),
                "average": self.average.state_dict(),
                "optimizer": self._optimizer.state_dict(),
                "step": self._step,
                "spent": self.spent,
                "rounds": self.rounds,
            },
            partial,
        )
        partial.replace(self._resume)
