"""What can be wrong with a GPU, in one line that says what to change."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager

import torch

from shardsift.config import Dtype
from shardsift.errors import DeviceError

_OLD_DRIVER = (
    "NVIDIA's driver is too old for this torch ({torch}); update the driver, or install a torch "
    "that is made for an older CUDA"
)
_REASONS = {
    "no kernel image": (
        "this torch ({torch}) has no code for it, only for {architectures}; install one that has"
    ),
    "driver on your system is too old": _OLD_DRIVER,
    "driver version is insufficient": _OLD_DRIVER,
    "busy or unavailable": (
        "another process has it for itself, or it is out of order; see `nvidia-smi`"
    ),
    "not compiled with CUDA": (
        "this torch ({torch}) is made for CPUs; install one that is made for CUDA"
    ),
    "no NVIDIA driver": "no NVIDIA driver is installed here",
    "No CUDA GPUs are available": "this process may use no GPU; see CUDA_VISIBLE_DEVICES",
    "invalid device ordinal": "this machine has {devices} GPUs, counted from 0",
}
"""By what CUDA and torch say."""


def check_device(device: torch.device, dtype: Dtype) -> None:
    """Find out whether a device is there and knows a dtype. Raises DeviceError."""
    if device.type != "cuda":
        return
    with explained(device):
        torch.cuda.init()
        name = torch.cuda.get_device_name(device)
        with torch.cuda.device(device):
            has_bfloat16 = torch.cuda.is_bf16_supported(including_emulation=False)
    if dtype == "bfloat16" and not has_bfloat16:
        raise DeviceError(f"{name} has no bfloat16; pass --dtype float16")


@contextmanager
def explained(device: torch.device, batch_size: int | None = None) -> Generator[None]:
    """Say what is wrong with a GPU if it fails in the block; errors of a CPU are left alone.

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
            f"too little memory for {work}{_free_memory(device)}; lower --batch-size, or end what "
            "else runs there"
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
    except (RuntimeError, AssertionError):  # the same that is about to be told
        return f"device {device}"
