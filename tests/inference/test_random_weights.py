"""Models without a download: as large as the real ones, and able to run."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
import torch
from PIL import Image, ImageStat

from bot.inference.engine import Engine
from bot.inference.parts import Key
from bot.inference.random_weights import RandomParts, full_size_family
from bot.inference.repositories import Repositories
from bot.inference.tools import TOOLS

from .conftest import CPU, ask, make_pipelines

BFL = "black-forest-labs/FLUX.1"


def test_the_layout_has_every_tool_at_its_published_size(tmp_path: Path) -> None:
    family = full_size_family(tmp_path / "flux")
    assert set(family.tools()) == set(TOOLS)
    parts = RandomParts(
        Repositories(family=family, token=None),
        device=CPU,
        dtype=torch.float32,
        store=None,
    )
    # parameters in billions, from the models' own pages and papers; four bytes each here
    for repo, part, billions in (
        ("schnell", "transformer", 11.89),
        ("dev", "transformer", 11.90),
        ("schnell", "text_encoder_2", 4.76),
        ("schnell", "text_encoder", 0.123),
        ("schnell", "vae", 0.084),
    ):
        size = parts.expected_bytes(Key(f"{BFL}-{repo}", part, "None"))
        assert size / 4e9 == pytest.approx(billions, rel=0.005), part


@pytest.mark.parametrize("quantization", ["8-bit", "None"])
def test_random_weights_give_a_finite_picture_of_nothing(quantization: str) -> None:
    pipelines = make_pipelines(make_parts=RandomParts)
    result = Engine(pipelines, CPU).run(ask(quantization=quantization))
    assert result.quantization == quantization
    assert result.fallback_reason is None
    assert result.notes == ()
    image = Image.open(io.BytesIO(result.images[0]))
    assert 2 < ImageStat.Stat(image.convert("L")).mean[0] < 253
