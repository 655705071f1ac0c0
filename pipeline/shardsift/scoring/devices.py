"""Choice of dtype and threads, and errors of GPUs as one line with the next step."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager

import torch

from shardsift.config import ScoreConfig
from shardsift.errors import DeviceError

_AMPERE = 8
"""The first generation of NVIDIA's GPUs that has bfloat16, by its compute capability."""

_OLD_DRIVER = (
    "NVIDIA's driver is too old for this torch ({torch}); update the driver, or install a torch "
    "for an older CUDA"
)
_REASONS = {
    "no kernel image": (
        "this torch ({torch}) has no code for it, only for {architectures}; install one that has"
    ),
    "driver on your system is too old": _OLD_DRIVER,
    "driver version is insufficient": _OLD_DRIVER,
    "busy or unavailable": (
        "another process uses it exclusively, or it is broken; see `nvidia-smi`"
    ),
    "not compiled with CUDA": ("this torch ({torch}) is for CPUs; install one for CUDA"),
    "no NVIDIA driver": "no NVIDIA driver is installed here",
    "No CUDA GPUs are available": "this process may not use a GPU; see CUDA_VISIBLE_DEVICES",
    "invalid device ordinal": "this machine has {devices} GPUs, counted from 0",
}
"""By what CUDA and torch say."""


def use_cores(cores: float) -> None:
    """Set the number of torch's threads in this process.

    Ray sets OMP_NUM_THREADS to an actor's cores, but torch may have looked before that.
    """
    torch.set_num_threads(max(1, int(cores)))


def decide_dtype(config: ScoreConfig, device: str) -> ScoreConfig:
    """Put the best dtype for a device in the place of `auto`.

    Raises:
        DeviceError: if the device isn't there, or hasn't the dtype that is asked for.
    """
    best, where = "float32", torch.device(device)
    if where.type == "cuda":
        with explained(where):
            major, _ = torch.cuda.get_device_capability(where)
        has_bfloat16 = torch.version.hip is not None or major >= _AMPERE
        best = "bfloat16" if has_bfloat16 else "float16"
        if config.dtype == "bfloat16" and not has_bfloat16:
            name = torch.cuda.get_device_name(where)
            raise DeviceError(f"{name} has no bfloat16; pass --dtype float16")
    return config.model_copy(update={"dtype": best}) if config.dtype == "auto" else config


def describe_gpus() -> tuple[list[str], str]:
    """Describe the GPUs that torch can use, and say why there is none."""
    gpus = [
        f"{torch.cuda.get_device_name(number)}, "
        f"{torch.cuda.get_device_properties(number).total_memory / (1 << 30):.0f} GiB"
        for number in range(torch.cuda.device_count())
    ]
    if gpus:
        return [*gpus, f"CUDA {torch.version.cuda}"], ""
    if torch.version.cuda is None and torch.version.hip is None:
        return [], f"this torch ({torch.__version__}) is for CPUs"
    return [], "no NVIDIA driver, or CUDA_VISIBLE_DEVICES hides them"


@contextmanager
def explained(device: torch.device, batch_size: int | None = None) -> Generator[None]:
    """Translate errors of a GPU in the block; errors of a CPU pass unchanged.

    Raises:
        DeviceError: in place of what torch raises.
    """
    try:
        yield
    except (RuntimeError, AssertionError) as error:
        if device.type == "cpu":
            raise
        raise DeviceError(f"{_name(device)}: {_reason(error, device, batch_size)}") from error


def _reason(error: Exception, device: torch.device, batch_size: int | None) -> str:
    if isinstance(error, torch.OutOfMemoryError):
        work = f"batches of {batch_size} crops" if batch_size else "this"
        return (
            f"too little memory for {work}{_free_memory(device)}; lower --batch-size, or end "
            "other programs there"
        )
    said = str(error)
    for words, reason in _REASONS.items():
        if words in said:
            return reason.format(
                torch=torch.__version__,
                architectures=", ".join(torch.cuda.get_arch_list()) or "none",
                devices=torch.cuda.device_count(),
            )
    return said.partition("\n")[0]


def _free_memory(device: torch.device) -> str:
    try:
        free, total = (size / 1e9 for size in torch.cuda.mem_get_info(device))
    except (RuntimeError, AssertionError):
        return ""
    return f": {free:.1f} of {total:.1f} GB are free"


def _name(device: torch.device) -> str:
    try:
        return torch.cuda.get_device_name(device)
    except (RuntimeError, AssertionError):  # the same error that is being reported
        return f"device {device}"
