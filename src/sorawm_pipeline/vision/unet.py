"""The small network that both see-through models are: a U-Net on a grid of half the resolution."""

from __future__ import annotations

import torch
from torch import Tensor, nn

WIDTHS = (20, 48, 64)
"""Channels at a half, a quarter and an eighth of the resolution."""

GRID = 8
"""Sides of the luma region must be multiples of it."""


class Residual(nn.Module):
    """Two 3x3 convolutions whose result is added to their input."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(width, width, 3, padding=1)
        self.second = nn.Conv2d(width, width, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.second(torch.relu(self.first(x)))  # type: ignore[no-any-return]


class UNet(nn.Module):
    """Ronneberger et al., "U-Net", 2015, with residual blocks and sums instead of concatenations.

    Maps (n, inputs, h, w) to (n, outputs, h, w) float; sides are multiples of GRID / 2. Untrained,
    it returns zeros.
    """

    def __init__(self, inputs: int, outputs: int, widths: tuple[int, int, int] = WIDTHS) -> None:
        super().__init__()
        fine, middle, coarse = widths
        self.stem = nn.Conv2d(inputs, fine, 3, padding=1)
        self.fine = Residual(fine)
        self.down = nn.Conv2d(fine, middle, 3, stride=2, padding=1)
        self.middle = Residual(middle)
        self.deeper = nn.Conv2d(middle, coarse, 3, stride=2, padding=1)
        self.coarse = nn.Sequential(Residual(coarse), Residual(coarse))
        self.rise = nn.Sequential(nn.Conv2d(coarse, middle * 4, 1), nn.PixelShuffle(2))
        self.merged = Residual(middle)
        self.up = nn.Sequential(nn.Conv2d(middle, fine * 4, 1), nn.PixelShuffle(2))
        self.last = Residual(fine)
        self.head = nn.Conv2d(fine, outputs, 3, padding=1)
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)  # type: ignore[arg-type]

    def forward(self, x: Tensor) -> Tensor:
        fine = self.fine(torch.relu(self.stem(x)))
        middle = self.middle(torch.relu(self.down(fine)))
        coarse = self.coarse(torch.relu(self.deeper(middle)))
        middle = self.merged(middle + self.rise(coarse))
        out: Tensor = self.head(self.last(fine + self.up(middle)))
        return out
