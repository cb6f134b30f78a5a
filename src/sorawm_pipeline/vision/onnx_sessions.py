"""ONNX Runtime sessions that share the machine with decoder and encoder."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import onnxruntime


def session_options(threads: int | None = None) -> onnxruntime.SessionOptions:
    """Options of a session that keeps to `threads` and leaves idle cores alone.

    Args:
        threads: for one call; None leaves it to the runtime.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads or 0
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    # By default a worker thread spins between calls, which takes cores from decode and encode.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return options
