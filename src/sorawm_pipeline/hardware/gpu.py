"""NVIDIA GPUs as NVML sees them, sampled on a thread of their own into immutable snapshots.

NVML calls can take long when a driver is in trouble, so nothing else ever waits for one. A machine
without NVML gives an empty snapshot that says why. What a device does not tell (not supported, no
permission, device lost) is None in its reading and costs nothing else.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any, Self, TypeVar

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Gpu:
    """One device, or one MIG instance of a device that is partitioned.

    Attributes:
        index: NVML's number of the physical device; CUDA may count differently, `uuid` does not.
        total, used, free: memory in bytes.
        utilisation: share of the last sample period in which a kernel ran, 0 to 100.
        temperature: degrees Celsius.
        power_w: watts.
        throttled: clocks are lowered because of heat, the power supply or a hardware brake.
        power_capped: clocks are lowered to stay within the power limit, as is usual at full load.
        mig: it is a MIG instance.
        error: why nothing could be read, such as "GPU is lost".
    """

    index: int
    name: str | None = None
    uuid: str | None = None
    total: int | None = None
    used: int | None = None
    free: int | None = None
    utilisation: int | None = None
    temperature: int | None = None
    power_w: float | None = None
    throttled: bool = False
    power_capped: bool = False
    mig: bool = False
    error: str | None = None


@dataclass(frozen=True, slots=True)
class GpuSnapshot:
    """All devices at one moment; `sample` counts the readings, `reason` says why there are none."""

    sample: int = 0
    driver: str | None = None
    gpus: tuple[Gpu, ...] = ()
    reason: str | None = None

    def find(self, uuid: str) -> Gpu | None:
        """The device with this UUID, with or without NVML's prefix `GPU-` or `MIG-`."""
        wanted = _bare(uuid)
        return next((gpu for gpu in self.gpus if gpu.uuid and _bare(gpu.uuid) == wanted), None)


def _bare(uuid: str) -> str:
    return uuid.removeprefix("GPU-").removeprefix("MIG-").lower()


DEVICE_FILES = ("nvidia0", "nvhost-gpu", "nvgpu", "dxg", "kfd")
"""What drivers put into /dev: NVIDIA's, on Tegra, on WSL; AMD's."""


def gpu_in_sight(devices: Path = Path("/dev")) -> bool:
    """Whether torch could find a GPU: cheap, where asking torch takes seconds to import it."""
    return any((devices / name).exists() for name in DEVICE_FILES) or bool(read_gpus().gpus)


def read_gpus(sample: int = 1) -> GpuSnapshot:
    """One reading, on the calling thread; quick without a driver, seconds if one is in trouble."""
    try:
        import pynvml  # costs 30 ms, and only a look at GPUs needs it
    except ImportError as error:
        return GpuSnapshot(sample, reason=str(error))
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError as error:
        return GpuSnapshot(sample, reason=str(error))
    try:
        driver = _ask(pynvml, pynvml.nvmlSystemGetDriverVersion)
        gpus: list[Gpu] = []
        for index in range(_ask(pynvml, pynvml.nvmlDeviceGetCount) or 0):
            gpus += _device(pynvml, index)
        reason = None if gpus else "NVML works but lists no device"
        return GpuSnapshot(sample, driver, tuple(gpus), reason)
    finally:
        _ask(pynvml, pynvml.nvmlShutdown)


def _device(nvml: ModuleType, index: int) -> list[Gpu]:
    """The device as one reading, or one reading per MIG instance."""
    try:
        handle = nvml.nvmlDeviceGetHandleByIndex(index)
        mode = _ask(nvml, nvml.nvmlDeviceGetMigMode, handle)
        if mode is None or mode[0] != nvml.NVML_DEVICE_MIG_ENABLE:
            return [_reading(nvml, index, handle, handle)]
        count = _ask(nvml, nvml.nvmlDeviceGetMaxMigDeviceCount, handle) or 0
        instances = [
            _ask(nvml, nvml.nvmlDeviceGetMigDeviceHandleByIndex, handle, number)
            for number in range(count)
        ]
        return [_reading(nvml, index, part, handle, mig=True) for part in instances if part]
    except nvml.NVMLError as error:
        return [Gpu(index, error=str(error))]


def _reading(nvml: ModuleType, index: int, handle: Any, board: Any, *, mig: bool = False) -> Gpu:
    """What `handle` tells; heat, power and clocks belong to the whole `board`."""
    try:
        memory = nvml.nvmlDeviceGetMemoryInfo(handle)
    except (nvml.NVMLError_GpuIsLost, nvml.NVMLError_Unknown) as error:
        return Gpu(index, mig=mig, error=str(error))
    except nvml.NVMLError:
        memory = None
    rates = _ask(nvml, nvml.nvmlDeviceGetUtilizationRates, handle)
    power = _ask(nvml, nvml.nvmlDeviceGetPowerUsage, board)
    reasons = _ask(nvml, nvml.nvmlDeviceGetCurrentClocksThrottleReasons, board) or 0
    throttle = (
        nvml.nvmlClocksThrottleReasonHwSlowdown
        | nvml.nvmlClocksThrottleReasonSwThermalSlowdown
        | nvml.nvmlClocksThrottleReasonHwThermalSlowdown
        | nvml.nvmlClocksThrottleReasonHwPowerBrakeSlowdown
    )
    return Gpu(
        index=index,
        name=_ask(nvml, nvml.nvmlDeviceGetName, handle),
        uuid=_ask(nvml, nvml.nvmlDeviceGetUUID, handle),
        total=memory and memory.total,
        used=memory and memory.used,
        free=memory and memory.free,
        utilisation=rates and rates.gpu,
        temperature=_ask(nvml, nvml.nvmlDeviceGetTemperature, board, nvml.NVML_TEMPERATURE_GPU),
        power_w=None if power is None else power / 1000,
        throttled=bool(reasons & throttle),
        power_capped=bool(reasons & nvml.nvmlClocksThrottleReasonSwPowerCap),
        mig=mig,
    )


def _ask(nvml: ModuleType, call: Callable[..., T], *arguments: object) -> T | None:
    try:
        return call(*arguments)
    except nvml.NVMLError:
        return None


class GpuSampler:
    """Reads the GPUs every `interval_s` seconds while it is open; `snapshot` never waits.

    Where the first reading finds no driver its thread ends at once, because drivers do not
    appear while a program runs.
    """

    def __init__(
        self, interval_s: float = 0.5, *, read: Callable[[int], GpuSnapshot] = read_gpus
    ) -> None:
        if interval_s <= 0:
            raise ValueError(f"interval_s must be more than 0, not {interval_s}")
        self._interval_s = interval_s
        self._read = read
        self._snapshot = GpuSnapshot(reason="not sampled yet")
        self._stop = threading.Event()
        self._first = threading.Event()
        self._thread = threading.Thread(target=self._run, name="nvml", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Ends the sampling; a driver call that hangs is left behind on its daemon thread."""
        self._stop.set()
        self._thread.join(timeout=2)

    @property
    def snapshot(self) -> GpuSnapshot:
        """The newest reading."""
        return self._snapshot

    def wait_first(self, timeout_s: float) -> GpuSnapshot:
        """The first reading, or an empty one if it takes longer than `timeout_s`."""
        self._first.wait(timeout_s)
        return self._snapshot

    def _run(self) -> None:
        sample = 0
        while not self._stop.is_set():
            sample += 1
            self._snapshot = self._read(sample)
            self._first.set()
            if sample == 1 and not self._snapshot.gpus:
                return
            self._stop.wait(self._interval_s)
