"""A network of LaMa's size, for its time and memory alone; its weights are random.

Written from the paper: Suvorov et al., "Resolution-robust Large Mask Inpainting with Fourier
Convolutions", WACV 2022: three steps down, 18 residual blocks of Fast Fourier Convolutions in which
three quarters of the channels are global (Chi et al., NeurIPS 2020), three steps up.
"""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn

BLOCKS, WIDTH, STEPS = 18, 64, 3
GLOBAL = 0.75
MODULO = 8
"""Sides of the input are multiples of it."""


class FourierUnit(nn.Module):
    """A 1x1 convolution of the spectrum: every output sample sees the whole picture."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.mix = _convolution(2 * channels, 2 * channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        spectrum = torch.fft.rfftn(x, dim=(-2, -1), norm="ortho")
        mixed = self.mix(torch.cat([spectrum.real, spectrum.imag], 1))
        real, imaginary = mixed.chunk(2, 1)
        turned = torch.complex(real, imaginary)
        out: Tensor = torch.fft.irfftn(turned, s=x.shape[-2:], dim=(-2, -1), norm="ortho")
        return out


class Spectral(nn.Module):
    """From global to global channels: through half as many, by a Fourier unit."""

    def __init__(self, channels: int, out: int) -> None:
        super().__init__()
        self.into = _convolution(channels, out // 2, 1)
        self.fourier = FourierUnit(out // 2)
        self.back = nn.Conv2d(out // 2, out, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        x = self.into(x)
        out: Tensor = self.back(x + self.fourier(x))
        return out


class FourierConvolution(nn.Module):
    """Local and global channels, each fed by both."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        wide = round(channels * GLOBAL)
        near = channels - wide

        def convolution(into: int, out: int) -> nn.Conv2d:
            return nn.Conv2d(into, out, 3, padding=1, padding_mode="reflect", bias=False)

        self.near_near, self.near_wide = convolution(near, near), convolution(near, wide)
        self.wide_near, self.wide_wide = convolution(wide, near), Spectral(wide, wide)
        self.near_norm, self.wide_norm = nn.BatchNorm2d(near), nn.BatchNorm2d(wide)

    def forward(self, near: Tensor, wide: Tensor) -> tuple[Tensor, Tensor]:
        close = self.near_norm(self.near_near(near) + self.wide_near(wide))
        far = self.wide_norm(self.near_wide(near) + self.wide_wide(wide))
        return torch.relu(close), torch.relu(far)


class Block(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first, self.second = FourierConvolution(channels), FourierConvolution(channels)
        self._near = channels - round(channels * GLOBAL)

    def forward(self, x: Tensor) -> Tensor:
        near, wide = self.second(*self.first(x[:, : self._near], x[:, self._near :]))
        return x + torch.cat([near, wide], 1)


class LamaSized(nn.Module):
    """Picture and mask (n, 4, h, w), 0..1, to a picture (n, 3, h, w); 51 M parameters."""

    def __init__(self) -> None:
        super().__init__()
        widths = [WIDTH * 2**step for step in range(STEPS + 1)]
        layers: list[nn.Module] = [nn.ReflectionPad2d(3), _convolution(4, WIDTH, 7, padding=0)]
        layers += [_convolution(a, b, 3, stride=2) for a, b in pairwise(widths)]
        layers += [Block(widths[-1]) for _ in range(BLOCKS)]
        for wide, narrow in pairwise(reversed(widths)):
            layers += [
                nn.ConvTranspose2d(wide, narrow, 3, 2, 1, output_padding=1),
                nn.BatchNorm2d(narrow),
                nn.ReLU(),
            ]
        layers += [nn.ReflectionPad2d(3), nn.Conv2d(WIDTH, 3, 7), nn.Sigmoid()]
        self.layers = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.layers(x)
        return out


def _convolution(
    channels: int, out: int, size: int, stride: int = 1, padding: int | None = None
) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(
            channels, out, size, stride, size // 2 if padding is None else padding, bias=False
        ),
        nn.BatchNorm2d(out),
        nn.ReLU(),
    )
