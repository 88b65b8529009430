"""Fixtures: the tiny models in this process, as the worker has them in its own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

from bot.inference.engine import Engine
from bot.inference.pipelines import Pipelines
from bot.inference.requests import text_to_image
from bot.inference.tools import FAMILIES
from bot.inference.types import Request

CPU = torch.device("cpu")
PLENTY = 10**9

MakePipelines = Callable[..., Pipelines]


def make_pipelines(**options: Any) -> Pipelines:
    """Return pipelines of the tiny family on the CPU with room for everything."""
    defaults = {
        "device": CPU,
        "dtype": torch.float32,
        "device_budget": PLENTY,
        "host_budget": PLENTY,
    }
    return Pipelines(FAMILIES["tiny"], **(defaults | options))


def ask(**options: Any) -> Request:
    """Return a request for the tiny family."""
    defaults = {
        "model": "schnell",
        "prompt": "a large red circle on a blue background",
        "seed": 7,
    }
    return text_to_image(FAMILIES["tiny"], **(defaults | options))


@pytest.fixture
def pipelines() -> Pipelines:
    """Pipelines that have loaded nothing yet."""
    return make_pipelines()


@pytest.fixture
def engine(pipelines: Pipelines) -> Engine:
    """An engine whose first job loads the models."""
    return Engine(pipelines, CPU)
