"""The synchronous surface of SoraWatermarkCleaner, so that scripts for it run with another import.

    from sorawm_pipeline.compat import SoraWM
    SoraWM().run(Path("clip.mp4"), Path("out/clip.mp4"), progress_callback=print)

Importing it loads no model and neither torch nor ONNX Runtime; each class loads what it needs when
it is first used.
"""

from sorawm_pipeline.compat.cleaner import WaterMarkCleaner
from sorawm_pipeline.compat.detector import Sighting, SoraWaterMarkDetector
from sorawm_pipeline.compat.memory import MemoryManager, memory_manager
from sorawm_pipeline.compat.video import SoraWM

__all__ = [
    "MemoryManager",
    "Sighting",
    "SoraWM",
    "SoraWaterMarkDetector",
    "WaterMarkCleaner",
    "memory_manager",
]
