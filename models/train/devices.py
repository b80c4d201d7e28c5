"""The device that training and evaluation run on, by name."""

import torch


class DeviceError(Exception):
    """There is no such device, or it does not work."""


def choose_device(name: str) -> torch.device:
    """A device that works; "auto" is the GPU where there is one. Raises DeviceError."""
    try:
        device = torch.device(("cuda" if torch.cuda.is_available() else "cpu") if name == "auto" else name)
        torch.zeros(1, device=device).cpu()
    except (RuntimeError, AssertionError) as error:  # torch without CUDA asserts
        raise DeviceError(f"cannot use the device {name!r}: {str(error).splitlines()[0]}") from error
    return device
