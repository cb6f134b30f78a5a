"""The network to train, from `detector.yaml`; Ultralytics kept offline and out of the home."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

os.environ.setdefault("YOLO_OFFLINE", "true")
os.environ.setdefault("YOLO_AUTOINSTALL", "false")
os.environ.setdefault("YOLO_VERBOSE", "false")
os.environ.setdefault("YOLO_CONFIG_DIR", tempfile.mkdtemp(prefix="ultralytics-"))

from ultralytics.nn.tasks import DetectionModel
from ultralytics.utils import YAML

ARCHITECTURE = Path(__file__).with_name("detector.yaml")


def build(path: Path = ARCHITECTURE) -> DetectionModel:
    """Return the untrained network, one class, in training mode."""
    architecture = YAML.load(path)
    return DetectionModel({**architecture, "scale": "n"}, ch=3, nc=1, verbose=False)
