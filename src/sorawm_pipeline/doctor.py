"""What this machine offers: found by trying, not by asking what is compiled in."""

from __future__ import annotations

import os
import platform
import resource
import shutil
import tempfile
from importlib import metadata
from typing import Any

from pydantic import BaseModel, ConfigDict

from sorawm_pipeline import __version__, report
from sorawm_pipeline.errors import ModelError
from sorawm_pipeline.hardware.codecs import CodecProbe, probe_codecs
from sorawm_pipeline.hardware.cores import usable_cores
from sorawm_pipeline.hardware.gpu import Gpu, GpuSampler
from sorawm_pipeline.hardware.memory import cpu_quota, read_memory

LIBRARIES = ("av", "onnxruntime", "torch", "ultralytics-opencv-headless", "numpy", "c2pa-python")
LIMITS = {
    "open_files": resource.RLIMIT_NOFILE,
    "processes": resource.RLIMIT_NPROC,
    "address_space_bytes": resource.RLIMIT_AS,
    "file_size_bytes": resource.RLIMIT_FSIZE,
    "locked_memory_bytes": resource.RLIMIT_MEMLOCK,
}
_NVML_TIMEOUT_S = 2.0


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Cores(_Model):
    """Cores of the machine, those this process may run on, and the cgroup's quota of them."""

    machine: int
    usable: int
    quota: float | None


class Memory(_Model):
    """Bytes; `total` and `available` within the limits of the control group."""

    total: int
    available: int
    process: int


class Gpus(_Model):
    """Devices that NVML lists, and what torch can use; each None or empty with its reason."""

    driver: str | None
    devices: tuple[Gpu, ...]
    reason: str | None
    cuda: tuple[str, ...]
    cuda_reason: str | None


class Model(_Model):
    """A built-in weights file; `error` is None if it is the one that was published."""

    name: str
    format: str
    sha256: str | None = None
    error: str | None = None


class Disk(_Model):
    """The folder for temporary files, in bytes."""

    folder: str
    free: int
    total: int


class Doctor(_Model):
    """Everything `sorawm-pipeline doctor` tells. A limit of None means unlimited."""

    version: str
    python: str
    platform: str
    libraries: dict[str, str | None]
    cores: Cores
    memory: Memory
    gpus: Gpus
    codecs: tuple[CodecProbe, ...]
    models: tuple[Model, ...]
    limits: dict[str, int | None]
    temporary: Disk


def collect() -> Doctor:
    """Examine the machine; about a second, longer where there is a GPU and torch must be asked."""
    with GpuSampler() as sampler:
        codecs = probe_codecs()
        gpus = sampler.wait_first(_NVML_TIMEOUT_S)
    cuda, cuda_reason = _cuda() if gpus.gpus else ((), "torch was not asked: no GPU found")
    memory = read_memory()
    folder = tempfile.gettempdir()
    disk = shutil.disk_usage(folder)
    return Doctor(
        version=__version__,
        python=f"{platform.python_implementation()} {platform.python_version()}",
        platform=platform.platform(),
        libraries={name: _version(name) for name in LIBRARIES},
        cores=Cores(machine=os.cpu_count() or 1, usable=usable_cores(), quota=cpu_quota()),
        memory=Memory(total=memory.total, available=memory.available, process=memory.process),
        gpus=Gpus(
            driver=gpus.driver,
            devices=gpus.gpus,
            reason=gpus.reason,
            cuda=cuda,
            cuda_reason=cuda_reason,
        ),
        codecs=codecs,
        models=_models(),
        limits={name: _limit(number) for name, number in LIMITS.items()},
        temporary=Disk(folder=folder, free=disk.free, total=disk.total),
    )


def to_json(doctor: Doctor) -> str:
    """The findings as one JSON object."""
    return report.to_json(doctor)


def to_text(doctor: Doctor) -> str:
    """The findings for people, one line each."""
    cores = doctor.cores
    quota = "" if cores.quota is None else f", quota {cores.quota:g}"
    lines = [
        ("sorawm-pipeline", doctor.version),
        ("python", f"{doctor.python} on {doctor.platform}"),
        ("libraries", ", ".join(f"{k} {v or 'missing'}" for k, v in doctor.libraries.items())),
        ("cores", f"{cores.usable} usable of {cores.machine}{quota}"),
        ("memory", f"{_size(doctor.memory.available)} free of {_size(doctor.memory.total)}"),
        ("gpu", doctor.gpus.reason or f"driver {doctor.gpus.driver}"),
        *((f"gpu {gpu.index}", _gpu_line(gpu)) for gpu in doctor.gpus.devices),
        ("cuda", ", ".join(doctor.gpus.cuda) or str(doctor.gpus.cuda_reason)),
        *(
            (probe.label, "works" if probe.works else f"no: {probe.reason}")
            for probe in doctor.codecs
        ),
        *(
            (f"model {model.name}", f"{model.format}: {model.error or model.sha256}")
            for model in doctor.models
        ),
        *(
            (name.replace("_", " "), "unlimited" if limit is None else str(limit))
            for name, limit in doctor.limits.items()
        ),
        ("temporary", f"{doctor.temporary.folder}, {_size(doctor.temporary.free)} free"),
    ]
    width = max(len(name) for name, _ in lines)
    return "\n".join(f"{name:<{width}}  {value}" for name, value in lines)


def _cuda() -> tuple[tuple[str, ...], str | None]:
    """Devices that torch can use, or why there are none."""
    try:
        import torch  # takes seconds, so only where there is a GPU

        names = tuple(
            f"cuda:{number} {torch.cuda.get_device_name(number)}"
            for number in range(torch.cuda.device_count())
            if torch.cuda.is_available()
        )
    except Exception as error:  # a broken driver or build says so in many ways
        return (), f"{type(error).__name__}: {error}".partition("\n")[0]
    return names, None if names else "torch finds no usable device"


def _models() -> tuple[Model, ...]:
    from sorawm_pipeline.vision.weights import builtin_files, builtin_weights

    found: list[Model] = []
    try:
        files = builtin_files()
    except ModelError as error:
        return (Model(name="built-in", format="manifest", error=error.message),)
    for name, kind in files:
        try:
            weights = builtin_weights(kind, name)
            found.append(Model(name=name, format=kind, sha256=weights.sha256))
        except ModelError as error:
            found.append(Model(name=name, format=kind, error=error.message))
    return tuple(found)


def _limit(number: int) -> int | None:
    soft, _ = resource.getrlimit(number)
    return None if soft == resource.RLIM_INFINITY else soft


def _version(distribution: str) -> str | None:
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return None


def _gpu_line(gpu: Gpu) -> str:
    if gpu.error is not None:
        return gpu.error
    parts: list[Any] = [gpu.name or "unnamed"]
    if gpu.free is not None and gpu.total is not None:
        parts.append(f"{_size(gpu.free)} free of {_size(gpu.total)}")
    if gpu.temperature is not None:
        parts.append(f"{gpu.temperature} C")
    if gpu.throttled:
        parts.append("throttled")
    return ", ".join(parts)


def _size(number: int) -> str:
    return f"{number / (1 << 30):.1f} GiB"
