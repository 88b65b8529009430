"""Interactions as no client of Discord's sends them: forged, malformed, out of all ranges.

And what becomes of them, seen from outside: one sentence, nobody pinged, no defect in the log.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

import discord
import pytest
import simcord
from discord.ui import ActionRow, Button, LayoutView, Select, View
from hypothesis import given, settings
from hypothesis import strategies as st
from simcord.actors import _dispatch_actor_interaction
from simcord.enums import InteractionType

from bot.cogs._buttons import BUTTONS
from tests.conftest import Scene

T = TypeVar("T")

LAYOUTS = ("past:", "settings:", "help:", "made:")
"""Whose answers are layouts, which Discord takes only in place of other layouts."""


async def message_with(
    scene: Scene, custom_id: str, values: Sequence[str] | None = None
) -> discord.Message:
    """Return a public message of the bot with a button, or a select of such values."""
    item: Button[Any] | Select[Any] = Button(label="x", custom_id=custom_id)
    if values is not None:
        options = [discord.SelectOption(label="x", value=value) for value in values]
        item = Select(custom_id=custom_id, options=options, min_values=0, max_values=len(values))
    view: View | LayoutView = View(timeout=None)
    if custom_id.startswith(LAYOUTS):
        view = LayoutView(timeout=None).add_item(ActionRow(item))
    else:
        view.add_item(item)
    channel = scene.app.client.get_channel(scene.channel.id)
    assert isinstance(channel, discord.TextChannel)
    return await channel.send(view=view)


async def press(
    scene: Scene,
    member: simcord.MemberActor,
    custom_id: str,
    values: Sequence[str] | None = None,
    *,
    chosen: int | None = None,
) -> simcord.InteractionResult:
    """Press a button, or choose the first of some values, in a message that the bot has sent."""
    message = await message_with(scene, custom_id, values)
    if values is None:
        return await member.click(message, custom_id=custom_id)
    return await member.select(message, list(values)[:chosen], custom_id=custom_id)


async def submit(
    scene: Scene, member: simcord.MemberActor, custom_id: str, typed: Mapping[str, str]
) -> simcord.InteractionResult:
    """Send a form that nobody has opened."""
    components = [
        {"type": 18, "component": {"type": 4, "custom_id": name, "value": value}}
        for name, value in typed.items()
    ]
    data = {"custom_id": custom_id, "components": components}
    return await _dispatch_actor_interaction(
        member, InteractionType.MODAL_SUBMIT, scene.channel, data
    )


@contextmanager
def unchecked_options(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Let options through that Discord would refuse by their range, length or choices."""
    with monkeypatch.context() as patch:
        patch.setattr(
            "simcord.interactions.validate_option_value", lambda command, option, value: value
        )
        yield


def issued(custom_id: str) -> bool:
    """Tell whether one of the bot's buttons or selects takes a custom_id."""
    return any(each.__discord_ui_compiled_template__.fullmatch(custom_id) for each in BUTTONS)


def told(result: simcord.InteractionResult) -> str:
    """Return all that an interaction was answered with, as one text; empty where nothing was."""
    messages = [*([result.response] if result.response else []), *result.followups]
    texts = [
        json.dumps([each.content, [e.to_dict() for e in each.embeds], each.components])
        for each in messages
    ]
    return "\n".join([*texts, json.dumps(result.modal) if result.modal else ""]).strip()


def examples(strategy: st.SearchStrategy[T], count: int) -> list[T]:
    """Return what hypothesis would try, always the same; it runs no test that waits by itself."""
    found: list[T] = []

    @settings(max_examples=count, derandomize=True, database=None, deadline=None)
    @given(strategy)
    def collect(example: T) -> None:
        found.append(example)

    collect()
    return found


class Watch:
    """What the bot has done since it was made, in requests to Discord and in its log."""

    def __init__(self, scene: Scene, log: pytest.LogCaptureFixture) -> None:
        self._scene, self._log = scene, log
        self._seen = len(scene.env.http_requests)
        log.clear()

    def check(self) -> None:
        """Assert that no defect was logged, and that nobody could be pinged."""
        defects = [each.getMessage() for each in self._log.records if each.levelno >= logging.ERROR]
        assert defects == []
        for request in self._scene.env.http_requests[self._seen :]:
            assert not can_mention(request.json), request
        _ = self._scene.env.errors  # simcord wants errors to be looked at, handled ones too


def can_mention(body: Any) -> bool:
    """Tell whether a request shows text in which Discord would look for mentions."""
    if not isinstance(body, dict):
        return False
    data = body.get("data", body)
    if not isinstance(data, dict) or "title" in data:  # a form pings nobody
        return False
    shows = any(data.get(name) for name in ("content", "embeds", "components"))
    return bool(shows) and data.get("allowed_mentions", {}).get("parse") != []
