"""The hub's answers about each repository, from a hub of our own."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from huggingface_hub import close_session

from bot.checks.hub import check_hub
from bot.config import Settings
from bot.inference.tools import FAMILIES
from tests.hub import Hub, serve_hub

TINY = FAMILIES["tiny"].folder
assert TINY is not None

SETTINGS = Settings(flux_models="flux", hf_token="hf_secret")


@pytest.fixture
async def hub(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Hub]:
    """A hub that has some of the repositories, which all requests go to."""
    async with serve_hub(Path(str(TINY))) as hub:
        monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", hub.url)
        monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
        close_session()
        yield hub
        close_session()


async def test_repositories_that_are_open_are_counted(hub: Hub) -> None:
    findings = await check_hub(SETTINGS)
    assert findings[0].state == "ok"
    assert findings[0].found.endswith("repositories can be read")


async def test_each_gated_repository_names_the_licence_to_accept(hub: Hub) -> None:
    hub.gated = True
    findings = await check_hub(SETTINGS)
    assert {each.state for each in findings} == {"fault"}
    (dev,) = [each for each in findings if "FLUX.1-dev " in each.found]
    assert dev.found == "black-forest-labs/FLUX.1-dev is gated, and closed to HF_TOKEN"
    assert "https://huggingface.co/black-forest-labs/FLUX.1-dev as" in dev.mend
    assert len({each.mend for each in findings}) == len(findings)


async def test_without_a_token_gated_repositories_ask_for_one(hub: Hub) -> None:
    hub.gated = True
    (first, *_) = await check_hub(Settings(flux_models="flux"))
    assert first.found.endswith("is gated, and HF_TOKEN is not set")
    assert first.mend.endswith("a token from https://huggingface.co/settings/tokens")


async def test_a_token_that_is_refused_is_said_once(hub: Hub) -> None:
    hub.refuses_token = True
    (finding,) = await check_hub(SETTINGS)
    assert (finding.state, finding.found) == ("fault", "HF_TOKEN is refused")


async def test_a_repository_that_there_is_not_is_a_fault(hub: Hub) -> None:
    settings = Settings(flux_models="tiny", classifier="somebody/misspelt")
    (finding,) = await check_hub(settings)
    assert finding.state == "fault"
    assert finding.found.startswith("somebody/misspelt is not known there")


async def test_a_hub_out_of_reach_is_said_once(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "http://127.0.0.1:9")
    (finding,) = await check_hub(SETTINGS)
    assert finding.state == "unchecked"
    assert finding.found.startswith("it cannot be reached")


async def test_a_hub_that_takes_connections_and_says_nothing_is_not_waited_for(
    hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bot.checks.hub.SECONDS", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"http://127.0.0.1:{silent.getsockname()[1]}"
        monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", address)
        (finding,) = await check_hub(SETTINGS)
    assert (finding.state, "ReadTimeout" in finding.found) == ("unchecked", True)


async def test_the_tiny_models_need_no_hub() -> None:
    (finding,) = await check_hub(Settings(flux_models="tiny"))
    assert finding.state == "ok"
