"""Settings that map one thing to another: tools to numbers, roles to factors, members to bans."""

from __future__ import annotations

import math
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from functools import reduce
from types import MappingProxyType
from typing import Any

from bot.i18n import _, number
from bot.inference.tools import TOOLS, Span
from bot.setting_kinds import EMPTY, MOST, at_most, is_id, refused

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
LONGEST_REASON = 200
"""Characters."""
IN_REASON = re.compile(r"<@|\d{15}")
"""What would be taken for the next member."""


@dataclass(frozen=True, slots=True)
class PerTool:
    """A number for some of the tools; the others keep their own. `spans` tells what each takes."""

    spans: Callable[[str], Span[int] | Span[float] | None]
    whole: bool

    @property
    def hint(self) -> str:
        example = "dev 20, fill 25" if self.whole else "dev 3.5, fill 30"
        return _(
            "tools with numbers, as `{example}`; `none` for what the models recommend",
            example=example,
        )

    def parse(self, text: str) -> Mapping[str, float]:
        if text.strip().lower() in EMPTY:
            return self.load({})
        pairs = [part.replace("=", " ").split() for part in _parts(text.lower())]
        if any(len(pair) != 2 for pair in pairs):
            raise refused(text, self.hint)
        return self.load({name: _read(typed, self.whole) for name, typed in pairs})

    def load(self, value: Any) -> Mapping[str, float]:
        if not isinstance(value, Mapping):
            raise refused(value, self.hint)
        numbers: dict[str, float] = {}
        for name, given in value.items():
            span = self.spans(name) if name in TOOLS else None
            if span is None:
                raise refused(name, self.hint)
            if not _is_number(given) or (self.whole and not isinstance(given, int)):
                raise refused(given, self.hint)
            numbers[name] = given if self.whole else round(float(given), DECIMALS)
            span.choose(name, numbers[name])  # type: ignore[arg-type]
        return MappingProxyType(numbers)

    def dump(self, value: Mapping[str, float]) -> dict[str, float]:
        return dict(value)

    def show(self, value: Mapping[str, float]) -> str:
        shown = ", ".join(f"{name} {number(each)}" for name, each in value.items())
        return shown or _("as recommended")

    def edit(self, value: Mapping[str, float]) -> str:
        return ", ".join(f"{name} {_typed(each)}" for name, each in value.items()) or "none"


@dataclass(frozen=True, slots=True)
class RoleFactors:
    """How many times the limits a role has; 0 for none at all."""

    @property
    def hint(self) -> str:
        return _("roles with factors, as `@artists 3, @staff 0` (0 lifts the limits), or `none`")

    def parse(self, text: str) -> Mapping[int, float]:
        if text.strip().lower() in EMPTY:
            return self.load({})
        factors = {}
        for part in _parts(text):
            match = FACTOR.fullmatch(part)
            if match is None:
                raise refused(part, self.hint)
            factors[match[1] or match[2]] = _read(match[3], whole=False)
        return self.load(factors)

    def load(self, value: Any) -> Mapping[int, float]:
        if not isinstance(value, Mapping) or len(value) > MOST:
            raise refused(value, self.hint)
        factors: dict[int, float] = {}
        for role, factor in value.items():
            role_id = _id(role)
            # next to none is no factor, but 0 is: it must not come of rounding
            fits = _is_number(factor) and (factor == 0 or 0.01 <= factor <= 100)
            if role_id is None or not fits:
                # as it is typed, in all languages
                span = {"low": "0.01", "high": "100"}
                advice = _("{hint}, each factor 0 or from {low} to {high}", hint=self.hint, **span)
                raise refused(f"{role} {factor}", advice)
            factors[role_id] = round(float(factor), DECIMALS)
        return MappingProxyType(factors)

    def dump(self, value: Mapping[int, float]) -> dict[str, float]:
        return {str(role): factor for role, factor in value.items()}

    def show(self, value: Mapping[int, float]) -> str:
        shown = (
            f"<@&{role}> " + (f"×{number(factor)}" if factor else _("no limits"))
            for role, factor in value.items()
        )
        return ", ".join(shown) or _("none")

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

    @property
    def hint(self) -> str:
        return _(
            "members with commas between them, each with days or a date and a reason if you like,"
            " as `{example}`; or `none`",
            example="@someone 7 spam, @other until 2030-12-31 18:00",
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
            hint = _("a date, as {day} or {time}", day="2030-12-31", time="2030-12-31 18:00")
            raise refused(match["until"], hint) from None

    def load(self, value: Any) -> Mapping[int, Ban]:
        if not isinstance(value, Mapping) or len(value) > MOST:
            raise refused(value, at_most(self.hint))
        bans = {}
        for member, ban in value.items():
            member_id = _id(member)
            ban = asdict(ban) if isinstance(ban, Ban) else ban
            if member_id is None or not isinstance(ban, Mapping) or set(ban) - {"reason", "until"}:
                raise refused(member, self.hint)
            bans[member_id] = self._ban(ban.get("reason", ""), ban.get("until"))
        return MappingProxyType(bans)

    def _ban(self, reason: Any, until: Any) -> Ban:
        # as `<t:…>` shows it, until the year 5138
        if until is not None and not (_is_number(until) and 0 <= until < 1e11):
            raise refused(until, _("seconds since 1970"))
        if not isinstance(reason, str) or len(reason) > LONGEST_REASON or IN_REASON.search(reason):
            raise refused(
                reason,
                _(
                    "a reason of {most} characters at most, without members or ids",
                    most=number(LONGEST_REASON),
                ),
            )
        return Ban(
            reason=" ".join(reason.split()).strip(" ,:"),
            until=None if until is None else math.ceil(until / 60) * 60.0,
        )

    def dump(self, value: Mapping[int, Ban]) -> dict[str, Any]:
        return {str(member): asdict(ban) for member, ban in value.items()}

    def show(self, value: Mapping[int, Ban]) -> str:
        shown = []
        for member, ban in value.items():
            said = f"<@{member}>"
            if ban.until is not None:
                said = _("{member} until {time}", member=said, time=f"<t:{ban.until:.0f}:f>")
            if ban.reason:
                said = _("{ban}: {reason}", ban=said, reason=ban.reason)
            shown.append(said)
        if not shown:
            return _("none")
        return reduce(lambda ban, other: _("{first}; {second}", first=ban, second=other), shown)

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


def _typed(value: float) -> str:
    return f"{value:.{DECIMALS}f}".rstrip("0").rstrip(".")


def _read(text: str, whole: bool) -> Any:
    pattern = r"\d{1,9}" if whole else r"\d{1,9}(\.\d{1,6})?"
    if not re.fullmatch(pattern, text):
        return text  # `load` says what is wrong with it
    return int(text) if whole else float(text)
