"""Choose the device for training and evaluation, and recognise that its memory is full."""

import torch


class DeviceError(Exception):
    """The device does not exist or does not work."""


def choose_device(name: str) -> torch.device:
    """Return a device after testing it; "auto" is the GPU if there is one. Raises DeviceError."""
    try:
        device = torch.device(("cuda" if torch.cuda.is_available() else "cpu") if name == "auto" else name)
        # Measured values are summed in float64, which Apple's GPUs (mps) lack; torch says so by a TypeError.
        torch.zeros(1, device=device, dtype=torch.float64).cpu()
    except (RuntimeError, AssertionError, TypeError) as error:  # torch without CUDA raises AssertionError.
        raise DeviceError(f"cannot use the device {name!r}: {str(error).splitlines()[0]}") from error
    return device


def is_out_of_memory(error: Exception) -> bool:
    """Return whether the device or the process has no memory left. On the CPU, torch raises a plain RuntimeError."""
    return isinstance(error, (MemoryError, torch.OutOfMemoryError)) or "can't allocate memory" in str(error)
