"""Eight bits: smaller by what is measured, close to the original, and never done twice."""

from __future__ import annotations

import logging

import pytest
import torch

from bot.inference.memory import weigh
from bot.inference.quantization import is_quantized, load_quantized


def layers() -> torch.nn.Module:
    torch.manual_seed(0)
    return torch.nn.Sequential(torch.nn.Linear(256, 512), torch.nn.GELU(), torch.nn.Linear(512, 64))


def test_linear_layers_become_a_quarter_of_their_size_in_float32() -> None:
    loaded = load_quantized("layers", layers, "8-bit")
    assert is_quantized(loaded.module)
    before = weigh(layers())
    assert before.actual == before.float32
    assert loaded.part.weights.float32 == pytest.approx(before.float32, rel=0.001)
    assert loaded.part.weights.saved_against("float32") == pytest.approx(0.75, abs=0.02)
    assert loaded.part.weights.saved_against("bfloat16") == pytest.approx(0.5, abs=0.03)


def test_the_output_stays_close_to_full_precision() -> None:
    probe = torch.randn(32, 256)
    exact = layers()(probe)
    error = load_quantized("layers", layers, "8-bit").module(probe) - exact
    assert error.norm() / exact.norm() < 0.02


def test_none_leaves_the_weights_as_they_are() -> None:
    loaded = load_quantized("layers", layers, "None")
    assert not is_quantized(loaded.module)
    assert loaded.part.quantization == "None"
    assert loaded.part.weights == weigh(layers())


def test_weights_that_are_quantised_already_are_left_alone() -> None:
    once = load_quantized("layers", layers, "8-bit").module
    scale = once[0].weight._scale.clone()
    again = load_quantized("layers", lambda: once, "8-bit")
    assert again.module is once
    assert again.part.quantization == "8-bit"
    assert torch.equal(once[0].weight._scale, scale)


def test_the_log_has_the_measured_bytes(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    load_quantized("the layers", layers, "8-bit")
    assert "the layers: 0.3 MB -> 0.2 MB at 8 bits (-48.8 %)" in caplog.text
