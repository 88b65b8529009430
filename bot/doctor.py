"""`python -m bot doctor`: what is amiss with an installation, and what mends it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable
from dataclasses import replace
from pathlib import Path

from bot.checks.database import check_database
from bot.checks.device import check_device
from bot.checks.discord_side import check_discord
from bot.checks.disk import check_disk
from bot.checks.environment import ENV_FILE, check_environment
from bot.checks.finding import Finding, unchecked
from bot.checks.hub import check_hub
from bot.checks.installation import check_packages, check_python
from bot.config import Settings

Findings = Finding | list[Finding]


async def examine(env_file: Path = ENV_FILE) -> AsyncIterator[Finding]:
    """Check everything, all at the same time, and give what is found in the order of reading.

    Nothing is made or changed, and a bot that runs meanwhile is not disturbed.
    """
    settings, findings = check_environment(env_file)
    for finding in (check_python(), check_packages(), *findings):
        yield finding
    if settings is None:
        yield unchecked("all else", "this takes settings that can be read")
        return
    hidden = settings.secrets
    tasks = [
        asyncio.create_task(_carried_out(name, check)) for name, check in _checks(settings).items()
    ]
    for task in tasks:
        for finding in await task:
            yield _without(hidden, finding)


def _checks(settings: Settings) -> dict[str, Awaitable[Findings]]:
    folder = settings.data_dir
    return {
        "Discord": check_discord(settings),
        "hub": check_hub(settings),
        "device": check_device(settings),
        "disk": asyncio.to_thread(check_disk, settings),
        "database": asyncio.to_thread(check_database, folder),
    }


async def _carried_out(name: str, check: Awaitable[Findings]) -> list[Finding]:
    """Return what a check finds; one that fails itself takes none of the others along."""
    try:
        found = await check
    except Exception as error:
        # by its type alone: who knows what it says
        return [unchecked(name, f"the check fails itself ({type(error).__name__})")]
    return found if isinstance(found, list) else [found]


def _without(hidden: list[str], finding: Finding) -> Finding:
    """Return a finding that shows no secret, whatever some answer or error has repeated."""
    found, mend = finding.found, finding.mend
    for secret in hidden:
        found, mend = found.replace(secret, "<secret>"), mend.replace(secret, "<secret>")
    return replace(finding, found=found, mend=mend)
