"""Settings that map one thing to another: tools to numbers, roles to factors, members to bans."""

from __future__ import annotations

import math
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Any

from bot.inference.tools import TOOLS, Span
from bot.setting_kinds import EMPTY, MOST, is_id, refused

DECIMALS = 6
"""Of numbers, as they are typed and kept."""

FACTOR = re.compile(r"(?:<@&(\d{15,20})>|(\d{15,20}))[\s=×]+(\S+)")

NEXT_BAN = re.compile(r"[,\n]\s*(?=<@|\d{15})")
BAN = re.compile(
    r"(?:<@!?(?P<mention>\d{15,20})>|(?P<id>\d{15,20}))"
    r"(?:\s+(?:for ever|until (?P<until>\d{4}-\d\d-\d\d(?: \d\d:\d\d)?)|(?P<number>\d{1,4})"
    r"(?:\s?(?P<unit>min|minutes?|h|hours?|d|days?|w|weeks?))?)"
    r"(?=[\s:]|$))?"
    r"(?P<reason>.*)",
    re.DOTALL | re.IGNORECASE,
)
SECONDS = {"m": 60, "h": 3600, "d": 86400, "w": 7 * 86400}
"""Of the units of a ban's length; days where none is named."""
IN_REASON = re.compile(r"<@|\d{15}")
"""What would be taken for the next member."""


@dataclass(frozen=True, slots=True)
class PerTool:
    """A number for some of the tools; the others keep their own. `span` gives what a tool takes."""

    spans: Callable[[str], Span[int] | Span[float] | None]
    whole: bool

    @property
    def hint(self) -> str:
        example = "dev 20, fill 25" if self.whole else "dev 3.5, fill 30"
        return f"tools with numbers, as `{example}`; `none` for what the models recommend"

    def parse(self, text: str) -> Mapping[str, float]:
        if text.strip().lower() in EMPTY:
            return self.load({})
        pairs = [part.replace("=", " ").split() for part in _parts(text.lower())]
        if any(len(pair) != 2 for pair in pairs):
            raise refused(text, self.hint)
        return self.load({name: _number(number, self.whole) for name, number in pairs})

    def load(self, value: Any) -> Mapping[str, float]:
        if not isinstance(value, Mapping):
            raise refused(value, self.hint)
        numbers: dict[str, float] = {}
        for name, number in value.items():
            span = self.spans(name) if name in TOOLS else None
            if span is None:
                raise refused(name, self.hint)
            if not _is_number(number) or (self.whole and not isinstance(number, int)):
                raise refused(number, self.hint)
            numbers[name] = number if self.whole else round(float(number), DECIMALS)
            span.choose(name, numbers[name])  # type: ignore[arg-type]
        return MappingProxyType(numbers)

    def dump(self, value: Mapping[str, float]) -> dict[str, float]:
        return dict(value)

    def show(self, value: Mapping[str, float]) -> str:
        return self._typed(value) or "as recommended"

    def edit(self, value: Mapping[str, float]) -> str:
        return self._typed(value) or "none"

    def _typed(self, value: Mapping[str, float]) -> str:
        return ", ".join(f"{name} {_typed(number)}" for name, number in value.items())


@dataclass(frozen=True, slots=True)
class RoleFactors:
    """How many times the limits a role has; 0 for none at all."""

    hint = "roles with factors, as `@artists 3, @staff 0` (0 lifts the limits), or `none`"

    def parse(self, text: str) -> Mapping[int, float]:
        if text.strip().lower() in EMPTY:
            return self.load({})
        factors = {}
        for part in _parts(text):
            match = FACTOR.fullmatch(part)
            if match is None:
                raise refused(part, self.hint)
            factors[match[1] or match[2]] = _number(match[3], whole=False)
        return self.load(factors)

    def load(self, value: Any) -> Mapping[int, float]:
        if not isinstance(value, Mapping) or len(value) > MOST:
            raise refused(value, self.hint)
        factors: dict[int, float] = {}
        for role, factor in value.items():
            number = _id(role)
            # next to none is no factor, but 0 is: it must not come of rounding
            fits = _is_number(factor) and (factor == 0 or 0.01 <= factor <= 100)
            if number is None or not fits:
                advice = f"{self.hint}, each factor 0 or from 0.01 to 100"
                raise refused(f"{role} {factor}", advice)
            factors[number] = round(float(factor), DECIMALS)
        return MappingProxyType(factors)

    def dump(self, value: Mapping[int, float]) -> dict[str, float]:
        return {str(role): factor for role, factor in value.items()}

    def show(self, value: Mapping[int, float]) -> str:
        shown = (
            f"<@&{role}> " + (f"×{_typed(factor)}" if factor else "no limits")
            for role, factor in value.items()
        )
        return ", ".join(shown) or "none"

    def edit(self, value: Mapping[int, float]) -> str:
        return ", ".join(f"<@&{role}> {_typed(each)}" for role, each in value.items()) or "none"


@dataclass(frozen=True, kw_only=True, slots=True)
class Ban:
    """Why a member may not use the bot, and until when in seconds since 1970, if not for ever."""

    reason: str = ""
    until: float | None = None


@dataclass(frozen=True, slots=True)
class Bans:
    """The members who may not use the bot. Bans end at full minutes, and are edited in UTC."""

    hint = (
        "members with commas between them, each with days or a date and a reason if you like, as"
        " `@someone 7 spam, @other until 2030-12-31 18:00`; or `none`"
    )

    def parse(self, text: str) -> Mapping[int, Ban]:
        if text.strip().lower() in EMPTY:
            return self.load({})
        bans = {}
        for part in NEXT_BAN.split(text.strip(" ,\n")):
            match = BAN.fullmatch(part)
            if match is None:
                raise refused(part, self.hint)
            ban = {"reason": match["reason"], "until": self._until(match)}
            bans[match["mention"] or match["id"]] = ban
        return self.load(bans)

    def _until(self, match: re.Match[str]) -> float | None:
        if match["number"]:
            return time.time() + int(match["number"]) * SECONDS[(match["unit"] or "d")[0].lower()]
        if not match["until"]:
            return None
        try:
            return datetime.fromisoformat(match["until"]).replace(tzinfo=UTC).timestamp()
        except ValueError:
            raise refused(match["until"], "a date, as 2030-12-31 or 2030-12-31 18:00") from None

    def load(self, value: Any) -> Mapping[int, Ban]:
        if not isinstance(value, Mapping) or len(value) > MOST:
            raise refused(value, f"{self.hint}, {MOST} at most")
        bans = {}
        for member, ban in value.items():
            number = _id(member)
            ban = asdict(ban) if isinstance(ban, Ban) else ban
            if number is None or not isinstance(ban, Mapping) or set(ban) - {"reason", "until"}:
                raise refused(member, self.hint)
            bans[number] = self._ban(ban.get("reason", ""), ban.get("until"))
        return MappingProxyType(bans)

    def _ban(self, reason: Any, until: Any) -> Ban:
        # as `<t:…>` shows it, until the year 5138
        if until is not None and not (_is_number(until) and 0 <= until < 1e11):
            raise refused(until, "seconds since 1970")
        if not isinstance(reason, str) or len(reason) > 200 or IN_REASON.search(reason):
            raise refused(reason, "a reason of 200 characters at most, without members or ids")
        return Ban(
            reason=" ".join(reason.split()).strip(" ,:"),
            until=None if until is None else math.ceil(until / 60) * 60.0,
        )

    def dump(self, value: Mapping[int, Ban]) -> dict[str, Any]:
        return {str(member): asdict(ban) for member, ban in value.items()}

    def show(self, value: Mapping[int, Ban]) -> str:
        shown = []
        for member, ban in value.items():
            end = "" if ban.until is None else f" until <t:{ban.until:.0f}:f>"
            shown.append(f"<@{member}>{end}" + (f": {ban.reason}" if ban.reason else ""))
        return "; ".join(shown) or "none"

    def edit(self, value: Mapping[int, Ban]) -> str:
        lines = []
        for member, ban in value.items():
            end = "for ever"
            if ban.until is not None:
                end = f"until {datetime.fromtimestamp(ban.until, UTC):%Y-%m-%d %H:%M}"
            lines.append(f"<@{member}> {end} {ban.reason}".rstrip())
        return "\n".join(lines) or "none"


def _parts(text: str) -> list[str]:
    return [part.strip() for part in re.split("[,\n]", text) if part.strip()]


def _id(text: Any) -> int | None:
    """Return the id that a key stands for, which JSON keeps as text; None for what is none."""
    number = int(text) if isinstance(text, str) and re.fullmatch("[0-9]{15,19}", text) else text
    return number if is_id(number) else None


def _is_number(value: Any) -> bool:
    return type(value) in (int, float) and abs(value) < 1e12


def _typed(number: float) -> str:
    return f"{number:.{DECIMALS}f}".rstrip("0").rstrip(".")


def _number(text: str, whole: bool) -> Any:
    pattern = r"\d{1,9}" if whole else r"\d{1,9}(\.\d{1,6})?"
    if not re.fullmatch(pattern, text):
        return text  # `load` says what is wrong with it
    return int(text) if whole else float(text)
