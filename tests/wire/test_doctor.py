"""`python -m bot doctor`, and what it makes of the answers of a Discord on 127.0.0.1."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import discord as discordpy
import pytest

from bot.checks import discord_side, servers
from bot.checks.discord_side import check_application, check_discord, connection
from bot.checks.finding import Finding
from bot.config import Settings
from bot.database import FILENAME
from bot.inference.tools import FAMILIES
from bot.storage import Storage
from tests.hub import serve_hub

from .conftest import Operator
from .fake_discord import ATTACH_FILES, SEND_MESSAGES, VIEW_CHANNEL, FakeDiscord
from .messages import APPLICATION_ID, CHANNEL_ID, GUILD_ID
from .rest import ANSWERING, TOKEN

pytestmark = pytest.mark.asyncio(loop_scope="module")

TINY = FAMILIES["tiny"].folder
NOWHERE = "http://127.0.0.1:9"
GUILD, CHANNEL = int(GUILD_ID), int(CHANNEL_ID)
INVITE = (
    f"https://discord.com/oauth2/authorize?client_id={APPLICATION_ID}"
    "&scope=bot+applications.commands&permissions=52224"
)

Look = Callable[[FakeDiscord], None]


@pytest.fixture
def settings(discord: FakeDiscord, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """Settings whose token is right, for checks in this process, on the simulated Discord."""
    monkeypatch.setattr(discordpy.http.Route, "BASE", f"{discord.url}/api/v10")
    return Settings(discord_token=TOKEN, flux_models="tiny", data_dir=tmp_path / "data")


async def found(settings: Settings, name: str) -> Finding:
    """Return what the checks of Discord say about one thing."""
    (finding,) = [each for each in await check_discord(settings) if each.name == name]
    return finding


def line(output: str, name: str) -> str:
    """Return the line of a check, with what mends it."""
    lines = output.splitlines()
    start = next(i for i, each in enumerate(lines) if each.split()[1] == name)
    end = start + 2 if lines[start + 1 : start + 2] and "→" in lines[start + 1] else start + 1
    return "\n".join(lines[start:end])


async def test_a_bot_in_order_is_told_so_and_nothing_is_made(
    discord: FakeDiscord, operator: Operator
) -> None:
    code, output = await operator.examine()
    assert code == 0, output
    assert "fault" not in output
    assert line(output, "token").startswith("ok")
    assert INVITE in line(output, "invite")
    assert line(output, "server") == "ok         server       A server: may answer in 1 of 1"
    assert line(output, "clock").endswith("agrees with Discord's")
    assert not operator.database.parent.exists()
    assert not [call for call in discord.rest.calls if call.method != "GET"]


async def test_a_token_that_discord_refuses_is_a_fault_and_is_not_shown(
    discord: FakeDiscord, operator: Operator
) -> None:
    secret = "MTAw.not-the-right-token"
    code, output = await operator.examine(DISCORD_TOKEN=secret)
    assert code == 1
    assert line(output, "token").startswith("fault      token        Discord refuses DISCORD_TOKEN")
    assert "reset the token at https://discord.com/developers" in line(output, "token")
    assert line(output, "servers").startswith("unchecked")
    assert line(output, "clock").startswith("ok")
    assert secret not in output


async def test_without_a_network_the_rest_is_checked(
    discord: FakeDiscord, operator: Operator
) -> None:
    code, output = await operator.examine(
        NOWHERE, HF_ENDPOINT=NOWHERE, CLASSIFIER="Falconsai/nsfw_image_detection"
    )
    assert code == 0, output
    for name in ("token", "servers", "clock", "hub"):
        assert line(output, name).startswith("unchecked"), output
    for name in ("Python", "device", "database"):
        assert not line(output, name).startswith("unchecked"), output


async def test_a_gated_repository_names_its_licence_and_no_secret_is_shown(
    discord: FakeDiscord, operator: Operator
) -> None:
    assert TINY is not None
    secret = "hf_a-secret-that-nobody-may-see"
    async with serve_hub(TINY) as hub:
        hub.gated = True
        code, output = await operator.examine(
            FLUX_MODELS="flux", HF_ENDPOINT=hub.url, HF_HUB_OFFLINE="0", HF_TOKEN=secret
        )
    assert code == 1
    assert "FLUX.1-Fill-dev is gated, and closed to HF_TOKEN\n" in output
    assert (
        "accept its licence at https://huggingface.co/black-forest-labs/FLUX.1-Fill-dev" in output
    )
    assert secret not in output
    assert TOKEN not in output


async def test_what_the_bot_may_not_do_is_named_with_server_and_channel(
    discord: FakeDiscord, settings: Settings
) -> None:
    discord.rest.granted = VIEW_CHANNEL | SEND_MESSAGES
    finding = await found(settings, "server")
    assert finding.state == "fault"
    assert finding.found == (
        "A server: cannot answer in #pictures (may not embed links or attach files)"
    )
    assert "give the bot's role these permissions" in finding.mend


async def test_what_a_channel_takes_away_counts(discord: FakeDiscord, settings: Settings) -> None:
    discord.rest.overwrites.append(
        {"id": GUILD_ID, "type": 0, "allow": "0", "deny": str(ATTACH_FILES)}
    )
    assert (await found(settings, "server")).found.endswith("#pictures (may not attach files)")


async def test_the_channels_are_those_that_the_server_allows(
    discord: FakeDiscord, settings: Settings
) -> None:
    async with Storage.open(settings.data_dir) as storage:
        await storage.settings.change(GUILD, 0, {"allowed_channels": [CHANNEL + 1]}, user_id=1)
    finding = await found(settings, "server")
    assert (finding.state, finding.mend) == ("fault", "change allowed_channels in /settings")
    async with Storage.open(settings.data_dir) as storage:
        await storage.settings.change(GUILD, 0, {"allowed_channels": [CHANNEL]}, user_id=1)
    assert (await found(settings, "server")).state == "ok"


async def test_a_database_that_cannot_be_read_leaves_the_defaults(
    discord: FakeDiscord, settings: Settings
) -> None:
    settings.data_dir.mkdir()
    (settings.data_dir / FILENAME).mkdir()
    assert (await found(settings, "server")).state == "ok"


async def test_discord_that_takes_too_long_leaves_servers_unchecked(
    discord: FakeDiscord, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(servers, "SECONDS", 0.1)
    discord.delay("GET", f"/guilds/{GUILD_ID}", seconds=1.0)
    finding = await found(settings, "servers")
    assert finding.state == "unchecked"
    assert finding.found == "1 of 1, for which Discord took too long"


async def test_an_archive_where_the_bot_cannot_post_is_a_fault(
    discord: FakeDiscord, settings: Settings
) -> None:
    async with Storage.open(settings.data_dir) as storage:
        await storage.settings.change(GUILD, 0, {"archive_channel": CHANNEL}, user_id=1)
    assert (await found(settings, "server")).state == "ok"
    discord.rest.granted = ANSWERING & ~ATTACH_FILES
    assert "cannot post in its archive" in (await found(settings, "server")).found


async def test_servers_that_the_settings_name_must_be_there(
    discord: FakeDiscord, tmp_path: Path, settings: Settings
) -> None:
    elsewhere = Settings(
        discord_token=TOKEN,
        flux_models="tiny",
        data_dir=tmp_path,
        dev_guild_id=GUILD + 1,
        allowed_servers=frozenset({GUILD + 2}),
    )
    findings = [each for each in await check_discord(elsewhere) if each.name == "servers"]
    assert [each.state for each in findings] == ["fault", "warning", "warning"]
    assert findings[0].found == f"DEV_GUILD_ID is {GUILD + 1}, and the bot is not in that server"
    assert findings[1].found == f"ALLOWED_SERVERS has {GUILD + 2}, where the bot is not"


@pytest.mark.parametrize(
    ("about", "state", "says", "mend"),
    [
        (
            {"interactions_endpoint_url": "https://example.com"},
            "fault",
            "commands never come to the bot",
            "empty that field",
        ),
        ({"bot_require_code_grant": True}, "fault", "joins no server", "Code Grant' off"),
        ({"flags": 1 << 15}, "warning", "privileged intent Server Members, which", "off at"),
        ({"flags": 1 << 18 | 1 << 13}, "warning", "intents Presence, Message Content", "off at"),
        ({}, "warning", "it is public", "ALLOWED_SERVERS"),
        ({"bot_public": False}, "ok", "flux, which has the intents", ""),
    ],
)
async def test_how_the_application_is_set_up_is_looked_at(
    discord: FakeDiscord,
    settings: Settings,
    about: dict[str, Any],
    state: str,
    says: str,
    mend: str,
) -> None:
    discord.rest.about |= about
    finding = await found(settings, "application")
    assert finding.state == state
    assert says in finding.found
    assert mend in finding.mend


@pytest.mark.parametrize(("flags", "state"), [(0, "fault"), (1 << 14, "ok"), (1 << 15, "ok")])
async def test_an_intent_that_the_application_lacks_is_a_fault(
    discord: FakeDiscord, settings: Settings, flags: int, state: str
) -> None:
    discord.rest.about |= {"flags": flags, "bot_public": False}
    intents = discordpy.Intents(guilds=True, members=True)
    async with connection() as (client, _):
        await client.login(TOKEN)
        assert client.application is not None
        finding = check_application(client.application, settings, intents)
    assert finding.state == state
    if state == "fault":
        assert "lacks the privileged intent Server Members" in finding.found
        assert finding.mend.startswith("switch it on at https://discord.com/developers")


@pytest.mark.parametrize(
    ("recommended", "chosen", "sessions_left", "state", "says"),
    [
        (2, None, 2, "ok", "shards: 2; 2 of 1000 sessions are left"),
        (1, 3, 900, "ok", "shards: 3; 900 of 1000 sessions are left"),
        (2, None, 1, "fault", "1 of 1000 sessions are left, and a start takes 2"),
        (1, 3, 2, "fault", "2 of 1000 sessions are left, and a start takes 3"),
        (2, 1, 900, "warning", "SHARD_COUNT is 1, and Discord recommends 2"),
    ],
)
async def test_a_start_needs_a_session_for_each_shard(
    discord: FakeDiscord,
    settings: Settings,
    monkeypatch: pytest.MonkeyPatch,
    recommended: int,
    chosen: int | None,
    sessions_left: int,
    state: str,
    says: str,
) -> None:
    monkeypatch.setattr(discord.rest, "shards", recommended)
    monkeypatch.setattr(discord.rest, "sessions_left", sessions_left)
    finding = await found(dataclasses.replace(settings, shard_count=chosen), "gateway")
    assert (finding.state, finding.found) == (state, says)
    if state == "fault":
        assert "new ones in 2 h 0 min" in finding.mend


async def test_a_discord_that_is_ill_is_no_fault_of_the_operator(
    discord: FakeDiscord, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(discord_side, "SECONDS", 0.3)
    discord.fail("GET", "/users/@me", status=503, times=math.inf)
    findings = await check_discord(settings)
    assert [each.state for each in findings if each.name == "token"] == ["unchecked"]
    assert not [each for each in findings if each.state == "fault"]
