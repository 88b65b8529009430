"""What a member may still do in one place, in plain sentences."""

from __future__ import annotations

import math

from bot.allowance import Allowance, Spent
from bot.i18n import _, counted, number
from bot.units import format_seconds, format_wait


def sentences(allowance: Allowance, waiting: tuple[int, int]) -> list[str]:
    """Return all limits, those that do not exist too; `waiting` counts the jobs that wait.

    These are the member's and the server's, in a direct message the member's alone.
    """
    mine, ours = waiting
    said = [_requests(allowance), _quantization(allowance), _cooldown(allowance)]
    said.append(_waiting(mine, allowance.waiting.member))
    if allowance.ours is not None:
        said.append(_waiting_here(ours, allowance.waiting.server))
    if allowance.mine is not None:
        said.append(_my_seconds(allowance.mine))
    if allowance.ours is not None:
        said.append(_our_seconds(allowance.ours))
    if allowance.factor != 1:
        said.append(_factor(allowance.factor))
    return said


def _requests(allowance: Allowance) -> str:
    width, height = allowance.max_size
    return counted(
        "You may ask for {n} picture at a time, in up to {steps} steps, of up to {width}×{height}"
        " pixels.",
        "You may ask for up to {n} pictures at a time, each in up to {steps} steps, of up to"
        " {width}×{height} pixels.",
        allowance.max_count,
        steps=number(allowance.max_steps),
        width=number(width),
        height=number(height),
    )


def _quantization(allowance: Allowance) -> str:
    if allowance.is_quantization_locked:
        return _("`quantization` is always {value}.", value=allowance.quantization)
    return _("`quantization` is {value}, unless you choose.", value=allowance.quantization)


def _cooldown(allowance: Allowance) -> str:
    if not allowance.cooldown:
        return _("You need not wait between two requests.")
    time = format_wait(allowance.cooldown)
    if not allowance.wait:
        return _("Between two of your requests {time} have to pass.", time=time)
    return _(
        "Between two of your requests {time} have to pass: {left} more until the next one.",
        time=time,
        left=format_wait(allowance.wait),
    )


def _waiting(jobs: int, limit: float) -> str:
    if math.isinf(limit):
        return counted(
            "{n} job of yours waits, and there is no limit.",
            "{n} jobs of yours wait, and there is no limit.",
            jobs,
        )
    return counted(
        "{n} job of yours waits, and {limit} may.",
        "{n} jobs of yours wait, and {limit} may.",
        jobs,
        limit=number(math.ceil(limit)),
    )


def _waiting_here(jobs: int, limit: float) -> str:
    return counted(
        "{n} job waits in this server, and {limit} may.",
        "{n} jobs wait in this server, and {limit} may.",
        jobs,
        limit=number(limit),
    )


def _my_seconds(spent: Spent) -> str:
    used = _time(spent.seconds)
    if math.isinf(spent.limit):
        return _(
            "You have used {used} of the GPU in the last 24 hours, and there is no limit.",
            used=used,
        )
    limit = format_wait(spent.limit)
    if not spent.left:
        said = _("You have used up the {limit} that you have of the GPU in 24 hours.", limit=limit)
        return f"{said} {spent.when_free()}"
    return _(
        "You have {limit} of the GPU in 24 hours: {used} are used or asked for, {left} are left.",
        limit=limit,
        used=used,
        left=_time(spent.left),
    )


def _our_seconds(spent: Spent) -> str:
    if math.isinf(spent.limit):
        return _("For all of this server together there is no limit to the time on the GPU.")
    limit = format_wait(spent.limit)
    if not spent.left:
        said = _("This server has used up its {limit} of the GPU in 24 hours.", limit=limit)
        return f"{said} {spent.when_free()}"
    return _(
        "This server has {limit} of the GPU in 24 hours: {used} are used or asked for, {left} are"
        " left.",
        limit=limit,
        used=_time(spent.seconds),
        left=_time(spent.left),
    )


def _factor(factor: float) -> str:
    if math.isinf(factor):
        return _("By your roles the limits of members do not hold for you.")
    return _("By your roles your limits are {factor} times those of others.", factor=number(factor))


def _time(seconds: float) -> str:
    if not seconds:
        return _("0 s")
    return format_seconds(seconds) if seconds < 10 else format_wait(seconds)
