"""Frames that let go of their pictures, to frames that have them again."""

from __future__ import annotations

from collections.abc import Sequence

from sorawm_pipeline.errors import InputError
from sorawm_pipeline.media.frame import Frame
from sorawm_pipeline.stages.decode import Decode


class Redecode:
    """Decodes the clip a second time, as far behind the first as frames waited in between.

    Args:
        decode: reads the same pictures as the first; owned.
    """

    name = "redecode"
    held = 0
    max_cap = 1

    def __init__(self, decode: Decode) -> None:
        self._decode = decode

    def cap(self) -> int:
        return self.max_cap

    def open(self) -> None:
        self._decode.open()

    def process(self, batch: Sequence[Frame]) -> list[Frame]:
        """The same frames, with their pictures.

        Raises:
            InputError: the file does not hold any more what was decoded first.
        """
        again = self._decode.read(len(batch))
        same = [(one.index, one.pts) for one in again] == [(one.index, one.pts) for one in batch]
        if not same:
            raise InputError(f"{self._decode.path} changed while it was being read")
        for frame, one in zip(batch, again, strict=True):
            frame.picture = one.picture
        return list(batch)

    def flush(self) -> list[Frame]:
        return []

    def close(self) -> None:
        self._decode.close()
