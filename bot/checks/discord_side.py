"""Whether Discord takes the token, and how the application is set up there."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from email.utils import parsedate_to_datetime
from types import SimpleNamespace

import aiohttp
import discord

from bot.checks.finding import Finding, fault, ok, unchecked, warning
from bot.checks.gateway import check_gateway
from bot.checks.servers import check_servers
from bot.client import INTENTS
from bot.cogs._visit import NEEDED
from bot.config import Settings

SECONDS = 10.0
"""For Discord to answer who the bot is."""

FAST_ENOUGH, TOO_FAR = 10.0, 120.0
"""Seconds by which a clock may be wrong: without a word, and at all."""

PORTAL = "https://discord.com/developers/applications"
NEW_TOKEN = f"reset the token at {PORTAL}, page Bot, and set DISCORD_TOKEN to the new one"

PRIVILEGED = {
    "members": ("Server Members", "gateway_guild_members"),
    "presences": ("Presence", "gateway_presence"),
    "message_content": ("Message Content", "gateway_message_content"),
}
"""What the portal calls an intent, and the flag of an application that may have it."""


async def check_discord(settings: Settings) -> list[Finding]:
    """Log in, without the gateway: a bot that serves with the same token is not disturbed."""
    token = settings.discord_token
    if token is None:
        return [
            fault("token", "DISCORD_TOKEN is not set", f"copy it from {PORTAL}, page Bot"),
            unchecked("servers", "this takes a token"),
        ]
    if not (token.isascii() and token.isprintable()) or " " in token:
        return [
            fault("token", "DISCORD_TOKEN holds what no token has, as spaces", NEW_TOKEN),
            unchecked("servers", "this takes a token"),
        ]
    async with connection() as (client, clock):
        findings = await _check_login(client, token)
        if client.application is not None:
            findings += [check_application(client.application, settings), _invite(client)]
            findings.append(await check_gateway(client, settings))
            findings += await check_servers(client, settings)
        else:
            findings.append(unchecked("servers", "Discord has not let the bot in"))
        return [*findings, clock.check()]


@asynccontextmanager
async def connection() -> AsyncIterator[tuple[discord.Client, Clock]]:
    """Give a client that is not logged in, and the clock that its answers are compared with."""
    clock = Clock()
    async with discord.Client(intents=INTENTS, http_trace=clock.trace()) as client:
        yield client, clock


async def _check_login(client: discord.Client, token: str) -> list[Finding]:
    try:
        async with asyncio.timeout(SECONDS):
            await client.login(token)
    except discord.LoginFailure:
        return [fault("token", "Discord refuses DISCORD_TOKEN", NEW_TOKEN)]
    except TimeoutError:
        return [unchecked("token", f"Discord did not answer within {SECONDS:.0f} s")]
    except discord.HTTPException as error:
        return [unchecked("token", f"Discord answers with status {error.status}")]
    except (aiohttp.ClientError, OSError) as error:
        return [unchecked("token", f"Discord cannot be reached ({type(error).__name__})")]
    return [ok("token", f"Discord knows the bot as {client.user}")]


def check_application(
    application: discord.AppInfo, settings: Settings, intents: discord.Intents = INTENTS
) -> Finding:
    """Look at what is switched in the portal: what the bot needs is on, what hinders it is off."""
    page = f"at {PORTAL}/{application.id}/bot"
    if application.interactions_endpoint_url is not None:
        return fault(
            "application",
            "it has an interactions endpoint URL, so that commands never come to the bot",
            f"empty that field at {PORTAL}/{application.id}/information",
        )
    if application.bot_require_code_grant:
        return fault(
            "application",
            "it requires a code grant, so that the bot joins no server",
            f"switch 'Requires OAuth2 Code Grant' off {page}",
        )
    wanted = {name for name in PRIVILEGED if getattr(intents, name)}
    granted = {name for name, (_, flag) in PRIVILEGED.items() if _has(application, flag)}
    if lacking := wanted - granted:
        return fault(
            "application",
            f"it lacks the {_titles(lacking)}, without which Discord ends the connection",
            f"switch it on {page}",
        )
    if more := granted - wanted:
        return warning(
            "application",
            f"it has the {_titles(more)}, which the bot does not use",
            f"switch it off {page}",
        )
    if application.bot_public and not settings.allowed_servers:
        return warning(
            "application",
            "it is public: anybody can invite the bot, and use its GPU",
            f"switch 'Public Bot' off {page}, or name your servers in ALLOWED_SERVERS",
        )
    return ok("application", f"{application.name}, which has the intents that the bot uses")


class Clock:
    """Compares this machine's clock to the dates of Discord's answers."""

    def __init__(self) -> None:
        self._offset: float | None = None

    def trace(self) -> aiohttp.TraceConfig:
        """Return what is called after each request."""
        trace = aiohttp.TraceConfig()
        trace.on_request_end.append(self._note)
        return trace

    async def _note(
        self,
        session: aiohttp.ClientSession,
        context: SimpleNamespace,
        params: aiohttp.TraceRequestEndParams,
    ) -> None:
        date = params.response.headers.get("Date")
        if date is not None:
            self.note(date, time.time())

    def note(self, date: str, now: float) -> None:
        """Take note of a date that has just come."""
        try:
            self._offset = now - parsedate_to_datetime(date).timestamp()
        except ValueError:
            self._offset = None

    def check(self) -> Finding:
        """Return by how much this machine's clock is wrong."""
        if self._offset is None:
            return unchecked("clock", "no answer of Discord's to compare it with")
        seconds = abs(self._offset)
        found = f"{seconds:.0f} s {'ahead of' if self._offset > 0 else 'behind'} Discord's"
        mend = "let the system set the time by itself, as with timedatectl set-ntp true"
        if seconds > TOO_FAR:
            return fault("clock", found, mend)
        if seconds > FAST_ENOUGH:
            return warning("clock", found, mend)
        return ok("clock", "agrees with Discord's")


def invite_link(application_id: int) -> str:
    """Return the link that invites the bot with the permissions that it needs, and no others."""
    return discord.utils.oauth_url(
        application_id,
        permissions=discord.Permissions(**dict.fromkeys(NEEDED, True)),
        scopes=("bot", "applications.commands"),
    )


def _invite(client: discord.Client) -> Finding:
    assert client.application_id is not None
    return ok("invite", invite_link(client.application_id))


def _has(application: discord.AppInfo, flag: str) -> bool:
    """Tell whether an application may have an intent; in few servers that is the limited flag."""
    return any(getattr(application.flags, name) for name in (flag, f"{flag}_limited"))


def _titles(names: set[str]) -> str:
    titles = [title for name, (title, _) in PRIVILEGED.items() if name in names]
    return f"privileged intent{'s' if len(titles) > 1 else ''} {', '.join(titles)}"
