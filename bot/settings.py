"""What a server may set, and what holds where it has set nothing: the one place for both."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from types import MappingProxyType
from typing import Any, Literal

from bot.errors import RequestError
from bot.i18n import N_, _, language
from bot.inference.requests import MAX_COUNT
from bot.inference.tools import SIZES, TOOLS, Family, Tool
from bot.inference.types import QUANTIZATIONS, Quantization
from bot.records import FileFormat, Layout, Look, MemoryLine, Verdict
from bot.setting_kinds import (
    Ids,
    Kind,
    OneChannel,
    OneLanguage,
    OneOf,
    Several,
    Switch,
    Texts,
    Whole,
)
from bot.setting_maps import Ban, Bans, PerTool, RoleFactors
from bot.words import MAX_ENTRIES, Blocklist, check_pattern, check_word

Page = Literal["Defaults", "Limits", "Access", "Safety", "Replies", "Language and archive"]
PAGES: tuple[Page, ...] = (
    N_("Defaults"),
    N_("Limits"),
    N_("Access"),
    N_("Safety"),
    N_("Replies"),
    N_("Language and archive"),
)

CHANNELS = N_("channels or categories as mentions or ids, or `none`")
ROLES = N_("roles as mentions or ids, or `none`")
WORDS = N_("words, with commas between them, or `none`")
PATTERNS = N_("regular expressions, one in each line, or `none`")

NOTHING: Mapping[Any, Any] = MappingProxyType({})
DAY = 86400


@dataclass(frozen=True, kw_only=True, slots=True)
class Key:
    """One setting: its name, what it may be, and where; `per_channel` if a channel may differ."""

    name: str
    page: Page
    kind: Kind
    default: Any
    description: str
    per_channel: bool

    @property
    def term(self) -> str:
        """Its name as it is marked to be translated: in the words that people type."""
        return self.name.replace("_", " ")

    @property
    def noun(self) -> str:
        """Its name as people read it in a sentence."""
        return _(self.term)

    @property
    def title(self) -> str:
        """Its name as people read it above what it is."""
        return self.noun[:1].upper() + self.noun[1:]


def _check_together(patterns: tuple[str, ...]) -> None:
    """Raise RequestError for patterns that are too much for one server together."""
    Blocklist((), patterns)


def _setting(
    page: Page, kind: Kind, default: Any, description: str, *, per_channel: bool = True
) -> Any:
    """Return the field of a setting, which tells all that is to be known of it."""
    told = {
        "page": page,
        "kind": kind,
        "default": default,
        "description": description,
        "per_channel": per_channel,
    }
    # by a factory: dataclasses take no mapping as a default, one that nobody can change neither
    return field(default_factory=lambda: default, metadata=told)


@dataclass(frozen=True, kw_only=True, slots=True)
class ServerSettings:
    """What holds in one channel: its own settings, else its server's, else these defaults."""

    model: str = _setting(
        "Defaults",
        OneOf(tuple(name for name, tool in TOOLS.items() if tool.command == "generate")),
        "schnell",
        N_("The model of /generate where none is chosen"),
    )
    quantization: Quantization | None = _setting(
        "Defaults",
        OneOf(QUANTIZATIONS, unset=N_("the operator's")),
        None,
        N_("8-bit halves the memory; None is full precision"),
    )
    quantization_locked: bool = _setting(
        "Defaults", Switch(), False, N_("Whether members may not choose another quantization")
    )
    size: str = _setting(
        "Defaults", OneOf(tuple(SIZES)), "square", N_("The size of /generate where none is chosen")
    )
    steps: Mapping[str, int] = _setting(
        "Defaults",
        PerTool(lambda name: TOOLS[name].steps, whole=True),
        NOTHING,
        N_("The steps of each tool where none are chosen"),
    )
    guidance: Mapping[str, float] = _setting(
        "Defaults",
        PerTool(lambda name: TOOLS[name].guidance, whole=False),
        NOTHING,
        N_("The guidance of each tool where none is chosen"),
    )

    tools: tuple[str, ...] = _setting(
        "Limits", Several(tuple(TOOLS)), tuple(TOOLS), N_("The models and tools that are on")
    )
    max_size: str = _setting(
        "Limits",
        OneOf((N_("square"), N_("small square"))),
        "square",
        N_("No picture may have more pixels than this size"),
    )
    max_steps: int = _setting("Limits", Whole(1, 50), 50, N_("No picture may take more steps"))
    max_count: int = _setting(
        "Limits", Whole(1, MAX_COUNT), MAX_COUNT, N_("No request may ask for more pictures")
    )
    waiting_per_member: int = _setting(
        "Limits",
        Whole(1, 100, "jobs"),
        20,
        N_("How many jobs of one member may wait"),
        per_channel=False,
    )
    waiting_per_server: int = _setting(
        "Limits",
        Whole(1, 1000, "jobs"),
        200,
        N_("How many jobs may wait in this server"),
        per_channel=False,
    )
    seconds_per_member: int = _setting(
        "Limits",
        Whole(0, DAY, "seconds", zero=N_("no limit")),
        0,
        N_("Seconds of the GPU for one member in 24 hours"),
        per_channel=False,
    )
    seconds_per_server: int = _setting(
        "Limits",
        Whole(0, DAY, "seconds", zero=N_("no limit")),
        0,
        N_("Seconds of the GPU for this server in 24 hours"),
        per_channel=False,
    )
    cooldown: int = _setting(
        "Limits",
        Whole(0, 3600, "seconds", zero=N_("none")),
        0,
        N_("Seconds between two requests of one member"),
        per_channel=False,
    )
    role_factors: Mapping[int, float] = _setting(
        "Limits",
        RoleFactors(),
        NOTHING,
        N_("Roles with more of a member's limits, or none of them"),
        per_channel=False,
    )

    allowed_channels: tuple[int, ...] = _setting(
        "Access",
        Ids(CHANNELS, "#"),
        (),
        N_("Where the bot may be used; everywhere if none is named"),
        per_channel=False,
    )
    denied_channels: tuple[int, ...] = _setting(
        "Access",
        Ids(CHANNELS, "#"),
        (),
        N_("Where the bot may not be used"),
        per_channel=False,
    )
    allowed_roles: tuple[int, ...] = _setting(
        "Access", Ids(ROLES, "@&"), (), N_("Who may use the bot; everybody if none is named")
    )
    denied_roles: tuple[int, ...] = _setting(
        "Access", Ids(ROLES, "@&"), (), N_("Who may not use the bot")
    )
    banned_members: Mapping[int, Ban] = _setting(
        "Access", Bans(), NOTHING, N_("Members who may not use the bot"), per_channel=False
    )

    blocked_words: tuple[str, ...] = _setting(
        "Safety",
        Texts("words", WORDS, check_word, ",", MAX_ENTRIES),
        (),
        N_("Words and phrases that no prompt may hold"),
    )
    blocked_patterns: tuple[str, ...] = _setting(
        "Safety",
        Texts("regular expressions", PATTERNS, check_pattern, "\n", MAX_ENTRIES, _check_together),
        (),
        N_("Regular expressions that no prompt may match, one in each line"),
    )
    age_restricted_only: bool = _setting(
        "Safety", Switch(), False, N_("Whether the bot works in age-restricted channels alone")
    )
    spoiler: Literal["as asked", "always", "never"] = _setting(
        "Safety",
        OneOf((N_("as asked"), N_("always"), N_("never"))),
        "as asked",
        N_("Whether pictures are hidden behind a click"),
    )
    classifier: Verdict = _setting(
        "Safety",
        OneOf((N_("off"), N_("blur"), N_("withhold"))),
        "off",
        N_("What becomes of pictures that the operator's classifier considers unsafe"),
    )
    classifier_threshold: int = _setting(
        "Safety", Whole(1, 99, "%"), 50, N_("How sure the classifier has to be")
    )
    classifier_spares_age_restricted: bool = _setting(
        "Safety", Switch(), True, N_("Whether age-restricted channels show all pictures")
    )

    private: bool = _setting(
        "Replies",
        Switch(),
        False,
        N_("Whether only the member sees an answer, if not said otherwise"),
    )
    memory_line: MemoryLine = _setting(
        "Replies",
        OneOf((N_("full"), N_("short"), N_("off"))),
        "full",
        N_("What an answer tells of the memory"),
    )
    file_format: FileFormat = _setting(
        "Replies", OneOf(("PNG", "WebP", "JPEG")), "PNG", N_("The format of the pictures")
    )
    quality: int = _setting("Replies", Whole(50, 100), 90, N_("The quality of WebP and JPEG"))
    layout: Layout = _setting(
        "Replies",
        OneOf((N_("files"), N_("grid"))),
        "files",
        N_("Several pictures one by one, or as one grid"),
    )

    language: str | None = _setting(
        "Language and archive",
        OneLanguage(),
        None,
        N_("The language of all answers here"),
        per_channel=False,
    )
    archive_channel: int | None = _setting(
        "Language and archive",
        OneChannel(),
        None,
        N_("A channel that gets a copy of all public pictures"),
        per_channel=False,
    )
    keep_days: int = _setting(
        "Language and archive",
        Whole(0, 3650, "days", zero=N_("for ever")),
        0,
        N_("How long pictures and prompts are kept"),
        per_channel=False,
    )

    def family(self, family: Family) -> Family:
        """Return a family of weights whose tools have this server's defaults and limits."""
        return replace(
            family, catalogue={name: self._tool(tool) for name, tool in family.catalogue.items()}
        )

    def _tool(self, tool: Tool) -> Tool:
        high = min(tool.steps.high, self.max_steps)
        steps = min(self.steps.get(tool.name, tool.steps.default), high)
        guidance = tool.guidance
        if guidance is not None:
            chosen = self.guidance.get(tool.name, guidance.default)
            guidance = replace(guidance, default=chosen)
        return replace(tool, steps=replace(tool.steps, high=high, default=steps), guidance=guidance)

    def look(self, *, age_restricted: bool) -> Look:
        """Return how pictures are shown to who asks now, in a channel age-restricted or not."""
        spared = age_restricted and self.classifier_spares_age_restricted
        return Look(
            memory_line=self.memory_line,
            file_format=self.file_format,
            quality=self.quality,
            layout=self.layout,
            verdict="off" if spared else self.classifier,
            threshold=self.classifier_threshold / 100,
            archive_channel_id=self.archive_channel,
            age_restricted=age_restricted,
            tools=self.tools,
            free=not self.quantization_locked,
            language=language(),
        )


KEYS: Mapping[str, Key] = MappingProxyType(
    {each.name: Key(name=each.name, **each.metadata) for each in fields(ServerSettings)}
)

DEFAULTS = ServerSettings()


def key_of(name: str) -> Key:
    """Return the key of a name; raise RequestError for one that there is not."""
    if name not in KEYS:
        shown = name[:60].replace("`", "'")
        raise RequestError(
            _("There is no setting `{name}`.", name=shown), _("Choose one that is offered.")
        )
    return KEYS[name]
