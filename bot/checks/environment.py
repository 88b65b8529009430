"""Whether the settings can be read, and what looks wrong about the file that they come from.

Nothing here shows a value of `.env`: only names, and those only if they look like names.
"""

from __future__ import annotations

import os
import re
import stat
from dataclasses import fields
from difflib import get_close_matches
from pathlib import Path

from dotenv import dotenv_values

from bot.checks.finding import Finding, fault, ok, warning
from bot.config import SECRETS, Settings, load_settings
from bot.errors import ConfigurationError

ENV_FILE = Path(".env")

KNOWN = frozenset(each.name.upper() for each in fields(Settings))


def check_environment(env_file: Path = ENV_FILE) -> tuple[Settings | None, list[Finding]]:
    """Return the settings, None if they cannot be read, and what is to be said of them."""
    try:
        settings = load_settings(env_file=env_file)
    except ConfigurationError as error:
        _, problem, allowed = error.args
        return None, [fault("settings", f"{error.variable} {problem}", f"allowed: {allowed}")]
    if not env_file.is_file():
        return settings, [ok("settings", f"from the environment alone, there is no {env_file}")]
    findings = [*_strange_names(env_file), *_readers(env_file)]
    return settings, findings or [ok("settings", f"{env_file} and the environment")]


def _strange_names(env_file: Path) -> list[Finding]:
    """Return a warning for what the bot does not read: it is often misspelt."""
    strange = [name for name in dotenv_values(env_file) if name not in KNOWN]
    if not strange:
        return []
    # a token on a line of its own is a name, too, as far as the file goes
    shown = [name for name in strange if re.fullmatch(r"[A-Z][A-Z0-9_]{,40}", name)]
    if len(shown) < len(strange):
        return [
            warning(
                "settings",
                f"{env_file} has a line that begins with no name of a setting",
                "write NAME=value, with a name from .env.example",
            )
        ]
    meant = {name: get_close_matches(name, KNOWN, n=1) for name in shown}
    guesses = ", ".join(f"{close[0]} for {name}" for name, close in meant.items() if close)
    advice = f"write {guesses}" if guesses else "see .env.example for those that there are"
    return [warning("settings", f"{env_file} sets {', '.join(shown)}: not known", advice)]


def _readers(env_file: Path) -> list[Finding]:
    """Return a warning if other users of the machine can read tokens in the file."""
    values = dotenv_values(env_file)
    has_secret = any(values.get(name.upper()) for name in SECRETS)
    if os.name != "posix" or not has_secret:
        return []
    if not env_file.stat().st_mode & (stat.S_IRGRP | stat.S_IROTH):
        return []
    return [
        warning(
            "settings",
            f"{env_file} holds tokens, and other users of this machine can read it",
            f"chmod 600 {env_file}",
        )
    ]
