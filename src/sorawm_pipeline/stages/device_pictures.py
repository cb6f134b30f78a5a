"""A detector's small pictures, made on the GPU that decoded the large ones.

The pictures are read where they lie (DLPack), so nothing is scaled on a core and nothing uploaded.
Has not yet run on a GPU; pictures in memory, handed out in the same way, stand in for it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import av

from sorawm_pipeline.media.clip import ClipInfo

if TYPE_CHECKING:
    import torch

MOST_BYTES = 512 << 20
"""Memory of a GPU that pictures may take while they wait for the detector."""

FULL_RANGE = 2
LUMA_WEIGHTS = {1: (0.2126, 0.0722), 9: (0.2627, 0.0593), 10: (0.2627, 0.0593)}
"""Red's and blue's share of luma by H.273's number of the matrix: BT.709, and BT.2020 twice."""

BT601 = (0.299, 0.114)
"""What libav takes where the file does not say."""


def gpu_for(accelerator: str | None, detector: str, waiting_bytes: int) -> tuple[int | None, str]:
    """The number of the GPU on which decoded pictures are kept; if None, why they are not.

    Args:
        accelerator: libav's name of the device that decodes, None for software.
        detector: where the detector runs, `cpu` or `cuda:n`.
        waiting_bytes: what the pictures that wait for it take, at most.
    """
    if accelerator != "cuda":
        return None, f"pictures are decoded by {accelerator or 'software'}, not by CUDA"
    if not detector.startswith("cuda"):
        return None, f"the detector runs on {detector}"
    if waiting_bytes > MOST_BYTES:
        return None, f"{waiting_bytes >> 20} MiB of them would wait on the GPU"
    return int(detector.partition(":")[2] or 0), ""


class DevicePictures:
    """Pictures at a detector's size, from those in NV12, P010 or P016 on any of torch's devices.

    Args:
        clip: whose pictures they are.
        width, height: size of the small picture before it is turned upright, pixels.
    """

    def __init__(self, clip: ClipInfo, width: int, height: int) -> None:
        self._display = clip.display
        self._size = height, width
        self._weights = LUMA_WEIGHTS.get(clip.colour.matrix, BT601)
        self._full = clip.colour.range == FULL_RANGE

    def of(self, picture: av.VideoFrame) -> torch.Tensor:
        """A picture as it is displayed, uint8 RGB (h, w, 3), on its own device.

        Raises:
            NotImplementedError, RuntimeError, TypeError, ValueError: the picture cannot be read
                there, or the device refuses.
        """
        import torch
        from torch.utils.dlpack import from_dlpack

        with torch.inference_mode():
            # torch would ask for its stream to be waited for; libav and torch share the default one
            luma, chroma = (from_dlpack(plane.__dlpack__()) for plane in picture.planes)
            y = self._scaled(luma[None], 16, 219)
            u, v = self._scaled(chroma.permute(2, 0, 1), 128, 224)
            red, blue = self._weights
            r, b = y[0] + 2 * (1 - red) * v, y[0] + 2 * (1 - blue) * u
            g = (y[0] - red * r - blue * b) / (1 - red - blue)
            image = torch.stack([r, g, b], -1).mul_(255).round_().clamp_(0, 255).to(torch.uint8)
            return self._upright(image)

    def _scaled(self, plane: torch.Tensor, zero: int, span: int) -> torch.Tensor:
        """Samples (n, h, w) at the small size, as shares of the range; `zero` is that of 8 bits."""
        from torch.nn.functional import interpolate

        steps = 256.0 if plane.element_size() == 2 else 1.0  # deep ones lie in the upper bits
        if self._full:
            zero, span = zero if zero == 128 else 0, 255
        small = interpolate(plane[None].float(), self._size, mode="bilinear", antialias=True)
        return small[0].div_(steps).sub_(zero).div_(span)

    def _upright(self, image: torch.Tensor) -> torch.Tensor:
        display = self._display
        if display.transpose:
            image = image.swapaxes(0, 1)
        axes = [axis for axis, flip in enumerate((display.flip_y, display.flip_x)) if flip]
        return image.flip(axes) if axes else image
