"""The device: asked of another process, and what its answer comes to."""

from __future__ import annotations

import os
import shutil
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from bot.checks import device
from bot.checks.device import check_device, judge
from bot.checks.finding import Finding
from bot.config import Settings
from bot.inference.sizes import GB, DeviceFacts

RTX = DeviceFacts(
    torch="2.13.0+cu130",
    type="cuda",
    name="NVIDIA GeForce RTX 4090",
    capability=(8, 9),
    free=23 * GB,
    total=25 * GB,
    budget=22 * GB,
    kernel_obstacle=None,
)
CPU = replace(RTX, type="cpu", name="CPU", capability=None, torch="2.13.0+cpu")
FULL = Settings(flux_models="flux")


def of(facts: DeviceFacts, settings: Settings = FULL, driver: str | None = None) -> list[Finding]:
    """Return what is said of a device."""
    return judge(facts, settings, driver)


async def test_this_machine_has_a_device_for_the_tiny_models() -> None:
    findings = await check_device(Settings(flux_models="tiny", device=("cpu",)))
    assert [each.state for each in findings] == ["ok", "ok"]
    assert findings[0].found.startswith("CPU, ")


@pytest.mark.skipif(shutil.which("nvidia-smi") is not None, reason="there is a driver")
async def test_a_device_that_is_not_there_is_a_fault() -> None:
    (finding,) = await check_device(Settings(flux_models="tiny", device=("cuda:63",)))
    assert finding.state == "fault"
    assert finding.found.startswith("DEVICE is cuda:63, but PyTorch finds no such device")
    assert finding.mend == "set DEVICE=auto"


@pytest.mark.skipif(
    sys.platform != "linux" or torch.cuda.is_available(), reason="it needs a driver to be made up"
)
async def test_a_pytorch_that_finds_no_gpu_beside_a_driver_is_the_fault(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    tool = tmp_path / "nvidia-smi"
    tool.write_text("#!/bin/sh\necho 470.1\n")
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    (finding,) = await check_device(Settings(flux_models="tiny", device=("cuda:63",)))
    assert finding.mend.startswith("install the PyTorch for this driver's CUDA")


async def test_a_pytorch_that_hangs_takes_nothing_along(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(device, "SECONDS", 0.01)
    (finding,) = await check_device(Settings(flux_models="tiny"))
    assert finding.state == "unchecked"


def test_a_gpu_is_described_with_what_fits_it() -> None:
    gpu, room, kernels = of(RTX, driver="580.95")
    assert gpu.found == (
        "NVIDIA GeForce RTX 4090, compute capability 8.9, driver 580.95, 23.0 GB of 25.0 GB free,"
        " torch 2.13.0+cu130"
    )
    assert room.found.startswith("8-bit: all tools, all sizes, weights stay; None: nothing")
    assert kernels.state == "ok"


def test_a_gpu_that_is_too_small_is_a_fault() -> None:
    _, room, _ = of(replace(RTX, free=8 * GB, total=8 * GB, budget=6 * GB))
    assert (room.state, room.mend[:23]) == ("fault", "use a GPU of 16 GB or m")


def test_a_budget_that_is_too_small_is_said_where_the_gpu_is_not() -> None:
    settings = replace(FULL, gpu_memory_gb=8)
    _, room, _ = of(replace(RTX, budget=8 * GB), settings)
    assert (room.state, room.mend[:20]) == ("fault", "raise GPU_MEMORY_GB,")


def test_full_precision_that_does_not_fit_is_a_fault_if_it_is_chosen() -> None:
    _, room, _ = of(RTX, replace(FULL, quantization="None"))
    assert (room.state, room.mend) == ("fault", "set QUANTIZATION=8-bit")


def test_memory_that_others_have_taken_is_a_warning() -> None:
    _, room, _ = of(replace(RTX, free=3 * GB))
    assert room.state == "warning"
    assert "only 3.0 GB are free now" in room.found


def test_kernels_that_cannot_be_compiled_say_why() -> None:
    facts = replace(RTX, kernel_obstacle="RuntimeError: Failed to find C compiler.")
    *_, kernels = of(facts)
    assert kernels.state == "warning"
    assert kernels.found.endswith("RuntimeError: Failed to find C compiler.")
    *_, kernels = of(facts, replace(FULL, int8_kernel="quanto"))
    assert kernels.state == "ok"


def test_a_gpu_that_pytorch_cannot_use_is_a_fault() -> None:
    gpu, _ = of(CPU, driver="470.1")
    assert gpu.state == "fault"
    assert (
        gpu.found == "there is an NVIDIA GPU with driver 470.1, which torch 2.13.0+cpu cannot use"
    )


def test_the_full_models_without_a_gpu_are_a_warning() -> None:
    gpu, _ = of(CPU)
    assert gpu.state == "warning"
    assert "FLUX_MODELS=tiny" in gpu.mend
