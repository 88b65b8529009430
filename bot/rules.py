"""The rules that look at a request and at what is set where it is made, and at nothing else."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass

from bot.errors import Refused
from bot.i18n import N_, _, counted, listed, number
from bot.inference.sweeps import variations
from bot.inference.tools import TOOLS, Family
from bot.inference.types import Quantization, Request
from bot.setting_maps import Ban
from bot.settings import ServerSettings

ASK = N_("Its moderators decide on that.")
MOST_NAMED = 10
"""Channels or roles that one sentence names."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Visit:
    """Who asks, and where: all that the rules look at.

    `channel_ids` are the category, the channel and the thread, as far as there are any, in this
    order. `missing` are the permissions that the bot lacks there to answer in public.
    """

    user_id: int
    guild_id: int | None
    channel_ids: tuple[int, ...] = ()
    role_ids: frozenset[int] = frozenset()
    age_restricted: bool = False
    missing: tuple[str, ...] = ()


def check_place(visit: Visit, settings: ServerSettings, *, private: bool) -> None:
    """Raise Refused where the bot does not answer, or may not."""
    if denied := _first(visit.channel_ids, settings.denied_channels):
        raise Refused(
            _("The bot is switched off in {channel}.", channel=f"<#{denied}>"),
            _("Use another channel."),
        )
    allowed = settings.allowed_channels
    if allowed and not _first(visit.channel_ids, allowed):
        raise Refused(
            _("The bot is not to be used in this channel."),
            _("Use {channels}.", channels=_named("#", allowed)),
        )
    if settings.age_restricted_only and not visit.age_restricted:
        raise Refused(
            _("In this server the bot works in age-restricted channels alone."),
            _("Use one of them."),
        )
    if visit.missing and not private:
        raise Refused(
            _("The bot may not {do} in this channel.", do=listed(visit.missing, "or")),
            _("Use another one, or `private:True`; whoever manages the server can allow it."),
        )


def check_member(visit: Visit, settings: ServerSettings, now: float) -> None:
    """Raise Refused for those whom the bot does not serve there."""
    ban = settings.banned_members.get(visit.user_id)
    if ban is not None and (ban.until is None or ban.until > now):
        raise Refused(_banned(ban), _("Its moderators can take that back."))
    if denied := _first(settings.denied_roles, visit.role_ids):
        raise Refused(
            _("Members with the role {role} may not use the bot here.", role=f"<@&{denied}>"),
            _(ASK),
        )
    allowed = settings.allowed_roles
    if allowed and not visit.role_ids.intersection(allowed):
        roles = _named("@&", allowed)
        raise Refused(_("Here the bot is for members with the role {roles}.", roles=roles), _(ASK))


def check_request(request: Request, settings: ServerSettings, family: Family) -> None:
    """Raise Refused for what is more than may be asked for, or switched off."""
    if request.tool not in settings.tools:
        tools = ", ".join(TOOLS[name].title for name in settings.tools)
        raise Refused(
            _("{tool} is switched off here.", tool=TOOLS[request.tool].title),
            _("There is {tools}.", tools=tools),
        )
    if request.count > settings.max_count:
        raise Refused(
            _(
                "`count` is {count}, and {most} at most is allowed here.",
                count=number(request.count),
                most=number(settings.max_count),
            ),
            _("Ask for fewer."),
        )
    # its steps were checked when it was made, but a setting may have changed since
    if request.num_inference_steps > settings.max_steps:
        raise Refused(
            _(
                "These are {steps} steps, and {most} at most are allowed here.",
                steps=number(request.num_inference_steps),
                most=number(settings.max_steps),
            ),
            _("Ask for fewer."),
        )
    if request.width is not None and request.height is not None:
        width, height = family.pixels(settings.max_size)
        if request.width * request.height > width * height:
            raise Refused(
                _(
                    "{width}×{height} pixels are more than is allowed here.",
                    width=number(request.width),
                    height=number(request.height),
                ),
                _("Choose `size:{size}`.", size=_(settings.max_size)),
            )


def check_quantization(request: Request, locked: Quantization) -> None:
    """Raise Refused where a request names another quantization than the one that is locked."""
    asked = {each.quantization for each in variations(request)}
    if asked == {locked}:
        return
    if len(asked) > 1:
        advice = _("So there is nothing to compare it with.")
    else:
        advice = _("Ask without it.")
    raise Refused(_("`quantization` is always {locked} here.", locked=locked), advice)


def _banned(ban: Ban) -> str:
    """Return that somebody is banned, until when and why, as far as that was said."""
    reason = ban.reason.rstrip(".")
    if ban.until is None:
        if not reason:
            return _("You may not use the bot in this server.")
        return _("You may not use the bot in this server: {reason}.", reason=reason)
    until = f"<t:{ban.until:.0f}:f>"
    if not reason:
        return _("You may not use the bot in this server until {until}.", until=until)
    return _(
        "You may not use the bot in this server until {until}: {reason}.",
        until=until,
        reason=reason,
    )


def _first(ids: Iterable[int], among: Collection[int]) -> int | None:
    return next((each for each in ids if each in among), None)


def _named(sign: str, ids: tuple[int, ...]) -> str:
    """Return channels or roles as mentions, not more of them than a sentence takes."""
    named = [f"<{sign}{each}>" for each in ids[:MOST_NAMED]]
    if (more := len(ids) - MOST_NAMED) > 0:
        named.append(counted("{n} other", "{n} others", more))
    return listed(named, "or")
