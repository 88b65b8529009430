"""Fixtures for the cogs: the full family's commands, with an executor in the test's hand."""

from __future__ import annotations

import dataclasses
from collections.abc import AsyncIterator

import pytest

from bot.config import Settings
from bot.inference.finder import MaskFinder
from bot.inference.previews import MaskPreviews
from tests.conftest import Scene, open_scene
from tests.doubles import HeldExecutor


@pytest.fixture
def held() -> HeldExecutor:
    return HeldExecutor()


@pytest.fixture
async def held_scene(
    settings: Settings, held: HeldExecutor, finder: MaskFinder, previews: MaskPreviews
) -> AsyncIterator[Scene]:
    """The bot with all tools, on a simulated server; pictures are made when the test says so."""
    settings = dataclasses.replace(settings, flux_models="flux")
    async with open_scene(settings, held, finder, previews) as scene:
        yield scene
