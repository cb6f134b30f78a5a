"""Writing `weights.onnx` and `weights.json`: both whole, or neither."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sorawm_pipeline.errors import OutputError
from sorawm_pipeline.media.target import Target, write_error


class Pair:
    """The two files of a detector, named by an output path with or without `.onnx`."""

    def __init__(self, source: Path, output: Path, *, overwrite: bool) -> None:
        """Check that both may be written, before hours of work and not after.

        Raises:
            OutputError: one exists, is the source, or its folder cannot be written.
        """
        model = output if output.suffix.lower() == ".onnx" else Path(f"{output}.onnx")
        if not model.stem.strip("."):
            raise OutputError(f"the output {output} is no file name")
        self.model = Target.prepare(source, model, overwrite=overwrite)
        card = model.with_suffix(".json")
        self.card = Target.prepare(source, card, overwrite=overwrite)

    def write(self, model: bytes) -> Path:
        """Write the model under its temporary name, which is returned, to be tried out.

        Raises:
            OutputError: the disk refuses.
        """
        try:
            self.model.temporary.write_bytes(model)
        except OSError as error:
            raise write_error(self.model.path, error) from error
        return self.model.temporary

    def publish(self, card: Mapping[str, Any]) -> None:
        """Write the card and give both their names, the model last.

        A card beside an older model would not fit its digest and be refused, never misread.

        Raises:
            OutputError: the disk refuses, or another program took a name meanwhile.
        """
        try:
            text = json.dumps(card, indent=1, ensure_ascii=False) + "\n"
            self.card.temporary.write_text(text, encoding="utf-8")
        except OSError as error:
            raise write_error(self.card.path, error) from error
        self.card.publish()
        try:
            self.model.publish()
        except BaseException:
            if not self.card.overwrite:
                self.card.path.unlink(missing_ok=True)
            raise

    def discard(self) -> None:
        """Remove what is unfinished; harmless after publishing."""
        self.model.discard()
        self.card.discard()
