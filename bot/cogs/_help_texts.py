"""What `/help` says of each of its topics: the commands of the tools, and what is none."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from bot.i18n import N_

OVERVIEW, BUTTONS, LIMITS = "all", "buttons", "limits"

TITLES: Mapping[str, str] = MappingProxyType(
    {
        OVERVIEW: N_("each in a sentence, and your limits"),
        "generate": N_("a picture from words"),
        "fill": N_("a part of an image anew, or more around it"),
        "kontext": N_("an image changed as you say"),
        "depth": N_("a new picture, as near and far as an image"),
        "canny": N_("a new picture along the edges of an image"),
        "redux": N_("variations of an image, or a blend of several"),
        BUTTONS: N_("what stands below a picture"),
        LIMITS: N_("how much you may do here"),
    }
)

PURPOSES: Mapping[str, str] = MappingProxyType(
    {
        "generate": N_("Say what you want to see, and it is painted."),
        "fill": N_(
            "For taking something out of an image, putting something in, or going on beyond its"
            " edges. All else stays, to the pixel."
        ),
        "kontext": N_(
            "For changes that are easier said than shown: another colour, another background,"
            " something more or less. No mask is needed."
        ),
        "depth": N_(
            "For another picture of the same room: what is near stays near and what is far stays"
            " far, and all else is as you say."
        ),
        "canny": N_(
            "For sketches that become paintings, and drawings in other colours: the lines stay, and"
            " you say the rest."
        ),
        "redux": N_(
            "For more of what you like: pictures in the manner of one that you have, or of several"
            " together. It needs no words."
        ),
    }
)
