"""What native libraries print becomes log lines, and never a deadlock."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import pytest

from sorawm_pipeline.native_log import MOST_ALIKE, _parse

DAMAGED = """
import io, random, threading
import av

def clip():
    buffer = io.BytesIO()
    output = av.open(buffer, "w", format="mp4")
    stream = output.add_stream("libx264", rate=30, options={"preset": "ultrafast"})
    stream.width, stream.height, stream.pix_fmt = 640, 360, "yuv420p"
    chance = random.Random(0)
    for _ in range(30):
        frame = av.VideoFrame(640, 360, "yuv420p")
        for plane in frame.planes:
            plane.update(chance.randbytes(plane.buffer_size))
        output.mux(stream.encode(frame))
    output.mux(stream.encode(None))
    output.close()
    data = bytearray(buffer.getvalue())
    for _ in range(2000):
        data[chance.randrange(2000, len(data) - 5000)] = chance.randrange(256)
    return bytes(data)

def decode(data, times):
    for number in range(times):
        with av.open(io.BytesIO(data)) as container:
            stream = container.streams.video[0]
            stream.thread_type, stream.codec_context.thread_count = "FRAME", 4
            try:
                for count, _ in enumerate(container.decode(stream)):
                    if count == 3 + number % 9:
                        break  # leaving early closes the decoder while its threads still work
            except av.error.FFmpegError:
                pass

def torture():
    data = clip()
    threads = [threading.Thread(target=decode, args=(data, 10)) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
"""


def run(body: str) -> subprocess.CompletedProcess[str]:
    code = (
        "import os, sys\n"
        "from sorawm_pipeline import logs\n"
        "from sorawm_pipeline.native_log import native_output_logged\n" + body
    )
    return subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )


def lines(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


def test_damaged_clips_decoded_with_frame_threads_neither_hang_nor_disturb_the_log() -> None:
    done = run(
        DAMAGED + "logs.configure('info', 'json')\n"
        "with native_output_logged():\n"
        "    torture()\n"
        "    logs.get_logger().info('decoded')\n"
    )
    assert done.returncode == 0, done.stderr
    found = lines(done.stderr)
    libav = [line for line in found if line["logger"].startswith("sorawm_pipeline.native.libav")]
    assert "decoded" in [line["event"] for line in found]
    assert {line["level"] for line in libav} <= {"info", "warning"}
    assert any(line["logger"].endswith(".h264") for line in libav)
    assert any(line.get("not_shown", 0) > 0 for line in libav), "floods are counted, not shown"
    assert done.stdout == ""


def test_what_python_prints_is_left_alone_and_everything_is_put_back() -> None:
    done = run(
        "logs.configure('info', 'json')\n"
        "before = sys.stderr\n"
        "with native_output_logged():\n"
        "    print('from python', file=sys.stderr)\n"
        "    os.write(2, b'from a library\\n')\n"
        "assert sys.stderr is before\n"
        "os.write(2, b'plain again\\n')\n"
    )
    assert done.returncode == 0, done.stderr
    text = done.stderr.splitlines()
    assert "from python" in text
    assert "plain again" in text
    (line,) = [json.loads(line) for line in text if line.startswith("{")]
    assert (line["event"], line["logger"]) == ("from a library", "sorawm_pipeline.native.native")


def test_a_library_that_floods_while_it_holds_the_gil_does_not_hang() -> None:
    done = run(
        "import ctypes\n"
        "logs.configure('info', 'json')\n"
        "libc = ctypes.PyDLL(None)\n"  # PyDLL keeps the GIL, as avcodec_open2 in PyAV does
        "with native_output_logged():\n"
        "    for _ in range(300):\n"
        "        libc.write(2, b'x' * 4095 + b'\\n', 4096)\n"
        "print('done')\n"
    )
    assert (done.returncode, done.stdout) == (0, "done\n")


@pytest.mark.parametrize(
    ("line", "parsed"),
    [
        ("[h264 @ 0x55d0] bad MB 3 4", ("libav.h264", "info", "bad MB 3 4")),
        ("[mov,mp4,m4a @ 0x7f] no moov", ("libav.mov,mp4,m4a", "info", "no moov")),
        ("x265 [info]: HEVC encoder version 4", ("x265", "debug", "HEVC encoder version 4")),
        ("Svt[warn]: Failed to set", ("svt", "warning", "Failed to set")),
        ("Svt[error]: no", ("svt", "error", "no")),
        ("anything else", ("native", "info", "anything else")),
    ],
)
def test_parse(line: str, parsed: tuple[str, str, str]) -> None:
    assert _parse(line) == parsed


def test_messages_alike_are_shown_a_few_times() -> None:
    done = run(
        "logs.configure('info', 'json')\n"
        "with native_output_logged():\n"
        "    for number in range(50):\n"
        "        os.write(2, f'bad block {number}\\n'.encode())\n"
    )
    *shown, counted = lines(done.stderr)
    assert [line["event"] for line in shown] == [f"bad block {n}" for n in range(MOST_ALIKE)]
    assert (counted["alike"], counted["not_shown"]) == ("bad block #", 50 - MOST_ALIKE)
