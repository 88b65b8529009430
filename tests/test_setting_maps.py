"""Settings that map: steps of tools, factors of roles, bans of members."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.errors import RequestError
from bot.i18n import speaking
from bot.inference.tools import TOOLS
from bot.setting_kinds import Kind
from bot.setting_maps import Ban, Bans, PerTool, RoleFactors
from tests.catalogues import Catalogues
from tests.setting_values import sentence, survives

ID = 123456789012345678
SNOWFLAKES = st.integers(10**14, 2**63 - 1)

STEPS = PerTool(lambda name: TOOLS[name].steps, whole=True)
GUIDANCE = PerTool(lambda name: TOOLS[name].guidance, whole=False)

WITH_GUIDANCE = [name for name, tool in TOOLS.items() if tool.guidance]
REASONS = st.text("spam 7,:;`\n-–ü", max_size=200) | st.sampled_from(
    ["for ever", "until 2030-01-01"]
)
BANS = st.fixed_dictionaries(
    {"reason": REASONS, "until": st.none() | st.floats(0, 9.9e10) | st.integers(0, 10**10)}
)

VALUES: list[tuple[Kind, st.SearchStrategy[Any]]] = [
    (STEPS, st.dictionaries(st.sampled_from(list(TOOLS)), st.integers(1, 12))),
    (GUIDANCE, st.dictionaries(st.sampled_from(WITH_GUIDANCE), st.floats(1, 10))),
    (
        RoleFactors(),
        st.dictionaries(SNOWFLAKES.map(str), st.just(0) | st.floats(0.01, 100), max_size=100),
    ),
    (Bans(), st.dictionaries(SNOWFLAKES.map(str), BANS, max_size=5)),
]


@given(st.data(), st.sampled_from(VALUES))
def test_every_value_survives_json_and_being_edited_as_text(
    data: st.DataObject, case: tuple[Kind, st.SearchStrategy[Any]]
) -> None:
    kind, values = case
    survives(kind, data.draw(values))


@pytest.mark.parametrize(
    ("kind", "typed", "value"),
    [
        (STEPS, "dev 20, Fill=25", {"dev": 20, "fill": 25}),
        (STEPS, "dev 20\nfill 25\n", {"dev": 20, "fill": 25}),
        (STEPS, "", {}),
        (GUIDANCE, "dev 3.5", {"dev": 3.5}),
        (RoleFactors(), f"<@&{ID}> 3, {ID + 1} 0", {ID: 3.0, ID + 1: 0.0}),
        (RoleFactors(), f"<@&{ID}> ×1.5\n<@&{ID}> = 2", {ID: 2.0}),
        (RoleFactors(), "none", {}),
        (Bans(), f"<@{ID}>", {ID: Ban()}),
        (Bans(), f"<@!{ID}> spam, again, {ID + 1}", {ID: Ban(reason="spam, again"), ID + 1: Ban()}),
        (Bans(), f"{ID} for ever: 7 up", {ID: Ban(reason="7 up")}),
        (Bans(), f"{ID} 7up", {ID: Ban(reason="7up")}),
        (Bans(), "-", {}),
    ],
)
def test_what_people_type_is_understood(kind: Kind, typed: str, value: object) -> None:
    assert kind.parse(typed) == value


@pytest.mark.parametrize(
    ("kind", "typed", "says"),
    [
        (STEPS, "dev", "Allowed: tools with numbers, as `dev 20, fill 25`"),
        (STEPS, "dall-e 20", "`dall-e` is not a value for this."),
        (STEPS, "dev 2.5", "`2.5` is not a value for this."),
        (STEPS, "schnell 13", "`schnell` is 13, but it goes from 1 to 12 here."),
        (GUIDANCE, "schnell 3", "`schnell` is not a value for this."),
        (GUIDANCE, "dev 1e3", "as `dev 3.5, fill 30`"),
        (RoleFactors(), f"<@&{ID}>", "roles with factors"),
        (RoleFactors(), f"<@{ID}> 3", "roles with factors"),
        (RoleFactors(), f"<@&{ID}> 101", "each factor 0 or from 0.01 to 100"),
        (RoleFactors(), f"<@&{ID}> 0.000001", "each factor 0 or from 0.01 to 100"),
        (Bans(), "@somebody 7 spam", "`@somebody 7 spam` is not a value for this."),
        (Bans(), f"<@{ID}> until 2030-02-31 spam", "a date, as 2030-12-31"),
        (Bans(), f"<@{ID}> like <@{ID}>", "a reason of 200 characters at most, without members"),
        (Bans(), f"<@{ID}> {'x' * 201}", "a reason of 200 characters at most"),
    ],
)
def test_what_is_no_value_is_answered_with_what_would_be_one(
    kind: Kind, typed: str, says: str
) -> None:
    assert says in sentence(kind, typed)


def test_a_ban_of_some_time_ends_that_much_later() -> None:
    before = time.time()
    for typed, days in [
        ("7", 7),
        ("7d", 7),
        ("7 days", 7),
        ("2 Weeks", 14),
        ("12h", 0.5),
        ("36 hours", 1.5),
        ("720 min", 0.5),
    ]:
        ban = Bans().parse(f"<@{ID}> {typed} spam")[ID]
        assert before + days * 86400 <= ban.until <= time.time() + days * 86400 + 60
        assert ban.reason == "spam"


def test_a_ban_until_a_date_ends_then_in_utc() -> None:
    for typed, end in [
        ("2030-12-31", (2030, 12, 31)),
        ("2030-12-31 18:30", (2030, 12, 31, 18, 30)),
    ]:
        ban = Bans().parse(f"<@{ID}> until {typed} spam")[ID]
        assert ban.until == datetime(*end, tzinfo=UTC).timestamp()
        assert ban.reason == "spam"


HOSTILE = [
    *(None, True, 3, 10**400, "x", [], [1], {"dev": None}, {"dev": True}, {"dev": 10**400}),
    *({"dev": float("nan")}, {"dev": float("inf")}, {"dev": "20"}, {"": 1}, {"²": 2}),
    *({str(ID): 10**400}, {str(ID): float("nan")}, {str(ID): []}, {"9" * 5000: 1}, {"9" * 19: 1}),
    *({str(ID): {"until": float("inf")}}, {str(ID): {"until": -1}}, {str(ID): {"until": True}}),
    *({str(ID): {"reason": 1}}, {str(ID): {"why": ""}}, {str(ID): {"until": 10**400}}),
    {str(ID + n): 1 for n in range(101)},
]


@pytest.mark.parametrize("kind", [STEPS, GUIDANCE, RoleFactors(), Bans()])
@pytest.mark.parametrize("value", HOSTILE, ids=lambda value: repr(value)[:30])
def test_whatever_a_file_holds_that_is_no_value_gets_a_sentence(kind: Kind, value: Any) -> None:
    with pytest.raises(RequestError) as refused:
        kind.load(value)
    assert len(str(refused.value)) < 400


def test_values_are_shown_as_people_say_them() -> None:
    assert STEPS.show({}) == "as recommended"
    assert GUIDANCE.show({"dev": 3.0, "fill": 2.25}) == "dev 3, fill 2.25"
    assert RoleFactors().show({ID: 1.5, ID + 1: 0.0}) == f"<@&{ID}> ×1.5, <@&{ID + 1}> no limits"
    bans = {ID: Ban(reason="spam", until=60.0), ID + 1: Ban()}
    assert Bans().show(bans) == f"<@{ID}> until <t:60:f>: spam; <@{ID + 1}>"


def test_numbers_and_words_are_shown_as_a_language_has_them_and_edited_as_they_are_typed(
    catalogues: Catalogues,
) -> None:
    until = "{member} until {time}", "{member} jusqu'au {time}"
    catalogues.add("fr", dict([until, ("as recommended", "comme conseillé")]))
    with speaking("fr"):
        assert GUIDANCE.show({}) == "comme conseillé"
        assert GUIDANCE.show({"dev": 3.5}) == "dev 3,5"
        assert GUIDANCE.edit({"dev": 3.5}) == "dev 3.5"
        assert RoleFactors().show({ID: 1.5}) == f"<@&{ID}> ×1,5"
        assert RoleFactors().edit({ID: 1.5}) == f"<@&{ID}> 1.5"
        bans = {ID: Ban(until=60.0)}
        assert Bans().show(bans) == f"<@{ID}> jusqu'au <t:60:f>"
        assert Bans().edit(bans) == f"<@{ID}> until 1970-01-01 00:01"
