"""The device, what fits it, and whether its kernels can be compiled; asked of another process."""

from __future__ import annotations

import asyncio
import json
import shutil
import sys
from typing import Any

from bot.checks.finding import Finding, fault, ok, unchecked, warning
from bot.config import Settings
from bot.inference.sizes import DeviceFacts, fits, least
from bot.units import format_bytes

SECONDS = 120.0
"""For PyTorch to be read from a slow disk, and a kernel to be compiled."""
DRIVER_SECONDS = 10.0

TORCH_FOR_CUDA = "install the PyTorch for this driver's CUDA (pytorch.org), or update the driver"


async def check_device(settings: Settings) -> list[Finding]:
    """Look at each device that the settings choose, one after the other."""
    driver = await _driver()
    looks = [await _look_at(device, settings, driver) for device in settings.device]
    return [finding for findings in looks for finding in findings]


async def _look_at(device: str, settings: Settings, driver: str | None) -> list[Finding]:
    answer = await _ask(device, settings)
    if isinstance(answer, Finding):
        return [answer]
    if "error" in answer:
        is_blind = driver is not None and not answer["gpus"]
        return [fault("device", answer["error"], TORCH_FOR_CUDA if is_blind else "set DEVICE=auto")]
    return judge(DeviceFacts(**answer), settings, driver)


def judge(facts: DeviceFacts, settings: Settings, driver: str | None) -> list[Finding]:
    """Say what a device is good for; `driver` is the version of NVIDIA's, if there is one."""
    if facts.type != "cuda":
        return [_without_cuda(facts, settings, driver), *_fit(facts, settings)]
    assert facts.capability is not None
    major, minor = facts.capability
    gpu = (
        f"{facts.name}, compute capability {major}.{minor}, driver {driver or 'unknown'},"
        f" {format_bytes(facts.free)} of {format_bytes(facts.total)} free, torch {facts.torch}"
    )
    return [ok("device", gpu), *_fit(facts, settings), _kernels(facts, settings)]


def _without_cuda(facts: DeviceFacts, settings: Settings, driver: str | None) -> Finding:
    found = f"{facts.name}, {format_bytes(facts.total)} of memory, torch {facts.torch}"
    if driver is not None and settings.device == ("auto",):
        there = f"there is an NVIDIA GPU with driver {driver}, which torch {facts.torch} cannot use"
        return fault("device", there, TORCH_FOR_CUDA)
    if facts.type == "cpu" and settings.flux_models != "tiny":
        return warning(
            "device",
            f"{found}: no GPU, so a picture of the full models takes very long",
            "run the bot on a machine with a GPU, or set FLUX_MODELS=tiny to try it",
        )
    return ok("device", found)


def _fit(facts: DeviceFacts, settings: Settings) -> list[Finding]:
    """Return what fits of the full models; the tiny ones fit everywhere."""
    if settings.flux_models == "tiny":
        return [ok("what fits", "the tiny models, which fit everywhere")]
    eight_bit, standard = found = fits(facts.total, facts.budget)
    said = "; ".join(map(str, found))
    if eight_bit.sizes is None:
        return [fault("what fits", said, _room(facts, settings))]
    if settings.quantization == "None" and standard.sizes is None:
        return [fault("what fits", said, "set QUANTIZATION=8-bit")]
    if facts.type == "cuda" and facts.free < least(settings.quantization):
        return [
            warning(
                "what fits",
                f"{said}; but only {format_bytes(facts.free)} are free now",
                "unless it is the bot itself, end what else uses the GPU (nvidia-smi tells)",
            )
        ]
    return [ok("what fits", said)]


def _room(facts: DeviceFacts, settings: Settings) -> str:
    if settings.gpu_memory_gb is not None and facts.total > least("8-bit"):
        return "raise GPU_MEMORY_GB, or leave it empty for what the GPU has"
    return "use a GPU of 16 GB or more, or set FLUX_MODELS=tiny"


def _kernels(facts: DeviceFacts, settings: Settings) -> Finding:
    """Return whether 8 bits are computed in 8 bits."""
    if settings.int8_kernel == "quanto":
        return ok("kernels", "not used: INT8_KERNEL=quanto")
    if facts.kernel_obstacle is None:
        return ok("kernels", "Triton compiles them, and a product came out right")
    return warning(
        "kernels",
        f"not used, quanto's slower way is: {facts.kernel_obstacle}",
        "install Triton, a C compiler and Python's headers; or set INT8_KERNEL=quanto",
    )


async def _ask(device: str, settings: Settings) -> dict[str, Any] | Finding:
    """Return what the process that looks at the device says, or why it says nothing."""
    arguments = ["-m", "bot.inference.checkup", device]
    if settings.gpu_memory_gb is not None:
        arguments.append(str(settings.gpu_memory_gb))
    code, output, errors = await _run(SECONDS, sys.executable, *arguments)
    if code is None:
        return unchecked("device", f"PyTorch did not answer within {SECONDS:.0f} s")
    if code != 0:
        last = (errors.strip().splitlines() or [f"exit code {code}"])[-1]
        return fault("device", f"PyTorch fails: {last}", "install the packages anew")
    found: dict[str, Any] = json.loads(output.splitlines()[-1])
    return found


async def _driver() -> str | None:
    """Return the version of NVIDIA's driver, None without one."""
    tool = shutil.which("nvidia-smi")
    if tool is None:
        return None
    query = ("--query-gpu=driver_version", "--format=csv,noheader")
    code, output, _ = await _run(DRIVER_SECONDS, tool, *query)
    lines = output.split()
    return lines[0] if code == 0 and lines else None


async def _run(seconds: float, *command: str) -> tuple[int | None, str, str]:
    """Run a command, and return its exit code and output; None if it took too long."""
    process = await asyncio.create_subprocess_exec(
        *command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    try:
        output, errors = await asyncio.wait_for(process.communicate(), seconds)
    except TimeoutError:
        return None, "", ""
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    return process.returncode, output.decode(errors="replace"), errors.decode(errors="replace")
