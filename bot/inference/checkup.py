"""Looks at the device: `python -m bot.inference.checkup DEVICE [GIGABYTES]`.

The doctor starts it as a process of its own, so that neither a broken PyTorch nor a driver that
hangs takes it along.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
from dataclasses import asdict

import torch

from bot.errors import ConfigurationError
from bot.inference.devices import choose_device, quiet_libraries
from bot.inference.memory import capacity, device_budget, device_name
from bot.inference.sizes import DeviceFacts

ROWS, WORDS, WIDTH = 256, 64, 512
"""Of the product that the kernels are tried with: enough for all that the compiler is asked for."""
TOLERANCE = 0.05
"""How far it may be off, relative to the largest value: 8 bits are no more exact."""


def examine(device_setting: str, gigabytes: float | None) -> DeviceFacts:
    """Return what there is to know of the device; raise ConfigurationError if it is not there."""
    device = choose_device(device_setting)
    free, total = capacity(device)
    is_cuda = device.type == "cuda"
    return DeviceFacts(
        torch=torch.__version__,
        type=device.type,
        name=device_name(device),
        capability=torch.cuda.get_device_capability(device) if is_cuda else None,
        free=free,
        total=total,
        budget=device_budget(device, gigabytes),
        kernel_obstacle=_kernel_obstacle(device) if is_cuda else None,
    )


def _kernel_obstacle(device: torch.device) -> str | None:
    """Return why the kernels for 8 bits cannot be compiled or used here, or None if they can."""
    quiet_libraries()
    from bot.inference.int8 import device_obstacle

    if (reason := device_obstacle(device)) is not None:
        return reason
    with tempfile.TemporaryDirectory() as folder:
        os.environ["TRITON_CACHE_DIR"] = folder  # to see that the compiler works, not that it did
        try:
            return None if error_of_product(device) < TOLERANCE else "a product came out wrong"
        except Exception as error:
            # of Triton, of the C compiler that it calls, of the driver: all of them are the answer
            text = str(error).strip().splitlines()
            return f"{type(error).__name__}: {text[0] if text else 'no more is said'}"


def error_of_product(device: torch.device) -> float:
    """Multiply by the kernels for 8 bits, and return how far that is from what it should be."""
    from bot.inference.int8_products import Weights, multiply
    from bot.inference.int8_rows import quantize

    random = torch.Generator(device).manual_seed(0)
    x = torch.randn(ROWS, WIDTH, generator=random, device=device).bfloat16()
    values = torch.randint(-127, 128, (WIDTH, WIDTH), generator=random, device=device).to(
        torch.int8
    )
    weights = Weights(
        values=values,
        scale=torch.full((WIDTH,), 1 / 127, device=device),
        sums=values.sum(dim=1, dtype=torch.float32),
        bias=torch.zeros(WIDTH, device=device, dtype=torch.bfloat16),
    )
    out = torch.empty(ROWS, WIDTH, device=device, dtype=torch.bfloat16)
    multiply(quantize(x), weights, WORDS, out)
    expected = x.float() @ values.float().T / 127
    return float((out.float() - expected).abs().max() / expected.abs().max())


def main() -> None:
    """Print what there is to know as one line of JSON."""
    device_setting, *gigabytes = sys.argv[1:]
    try:
        facts = examine(device_setting, float(gigabytes[0]) if gigabytes else None)
    except ConfigurationError as error:
        line = {"error": str(error), "gpus": torch.cuda.device_count()}
    else:
        line = asdict(facts)
    sys.stdout.write(json.dumps(line) + "\n")


if __name__ == "__main__":
    main()
