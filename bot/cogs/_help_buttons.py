"""What the buttons of a picture do, in the words of `/help`."""

from __future__ import annotations

from collections.abc import Collection

from bot.cogs._mask_preview import LABELS
from bot.cogs._results import OFFERS, Verb
from bot.i18n import N_, _, listed

PURPOSES: tuple[tuple[tuple[Verb, ...], str], ...] = (
    (("again",), N_("{buttons}: once more, with another seed")),
    (("remix",), N_("{buttons}: with other words, steps, guidance or seed")),
    (("subtle", "strong"), N_("{buttons}: like this one, or only a little like it")),
    (("edit",), N_("{buttons}: what you say is changed, and the rest stays")),
    (("repaint",), N_("{buttons}: a part is painted anew")),
    (("zoom15", "zoom2"), N_("{buttons}: more of what lies around it")),
    (("left", "right", "up", "down"), N_("{buttons}: more of what lies beside it")),
    (("compare",), N_("{buttons}: at 8 bits and in full precision, side by side")),
    (("info",), N_("{buttons}: how it was made")),
    (("delete",), N_("{buttons}: it is deleted for good, after a question")),
)
"""Of buttons that do much the same, together."""


def lines(tools: Collection[str], *, free: bool) -> list[str]:
    """Return one line for each kind of button that there is where these tools are on.

    To compare two quantizations is for where one is `free` to choose.
    """
    shown = [
        _line(verbs, purpose) for verbs, purpose in PURPOSES if _is_offered(verbs, tools, free)
    ]
    return [*shown, _("**Cancel**: what waits or is being painted is called off")]


def preview_line() -> str:
    """Return what stands below the preview of a mask."""
    labels = listed([f"**{_(label)}**" for label in LABELS.values()])
    return _("{buttons}: below the preview of a mask", buttons=labels)


def _line(verbs: tuple[Verb, ...], purpose: str) -> str:
    labels = " · ".join(f"**{_(OFFERS[verb].label)}**" for verb in verbs)
    return _(purpose, buttons=labels)


def _is_offered(verbs: tuple[Verb, ...], tools: Collection[str], free: bool) -> bool:
    needed = OFFERS[verbs[0]].tool
    return (needed is None or needed in tools) and (free or "compare" not in verbs)
