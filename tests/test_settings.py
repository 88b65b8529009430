"""The settings of a server: all described, all with a default that can be kept, all in effect."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest

from bot.errors import RequestError
from bot.inference.tools import FAMILIES, TOOLS
from bot.records import Look
from bot.setting_kinds import OneOf, Several, Switch
from bot.settings import DEFAULTS, KEYS, PAGES, Key, ServerSettings, key_of

FLUX = FAMILIES["flux"]

EVERY_KEY = pytest.mark.parametrize("key", KEYS.values(), ids=list(KEYS))


@EVERY_KEY
def test_a_default_is_kept_and_read_back_as_it_is(key: Key) -> None:
    kept = json.dumps(key.kind.dump(key.default))
    assert key.kind.load(json.loads(kept)) == key.default
    assert getattr(DEFAULTS, key.name) == key.default


@EVERY_KEY
def test_a_default_can_be_typed(key: Key) -> None:
    assert key.kind.parse(key.kind.edit(key.default)) == key.default
    assert key.kind.show(key.default)


@EVERY_KEY
def test_a_setting_says_in_what_discord_takes_what_it_does_and_what_it_may_be(key: Key) -> None:
    assert 10 < len(key.description) <= 100
    assert len(key.title) <= 45
    assert key.kind.hint
    assert not key.description.endswith(".")
    assert not key.kind.hint.endswith(".")
    options = key.kind.options if isinstance(key.kind, OneOf | Several) else ()
    assert len(options) < 25


def test_the_pages_have_all_settings_in_their_order() -> None:
    pages = [key.page for key in KEYS.values()]
    assert list(dict.fromkeys(pages)) == list(PAGES)
    assert pages == sorted(pages, key=PAGES.index)


def test_a_name_that_there_is_not_is_answered_without_its_markup() -> None:
    assert key_of("max_steps").title == "Max steps"
    with pytest.raises(RequestError, match=r"There is no setting `'x'y+`\. Choose") as refused:
        key_of("`x`" + "y" * 5000)
    assert len(str(refused.value)) < 150


def test_what_is_not_set_anywhere_leaves_the_tools_as_they_are() -> None:
    assert DEFAULTS.family(FLUX).catalogue == FLUX.catalogue
    assert DEFAULTS.look(age_restricted=False) == Look()


def test_steps_and_guidance_of_a_server_are_what_its_commands_offer() -> None:
    settings = ServerSettings(steps={"dev": 20, "fill": 45}, guidance={"dev": 2.0}, max_steps=30)
    catalogue = settings.family(FLUX).catalogue
    assert catalogue["dev"].steps.default == 20
    assert catalogue["dev"].guidance == dataclasses.replace(TOOLS["dev"].guidance, default=2.0)
    # never more than the most that is allowed
    assert (catalogue["fill"].steps.default, catalogue["fill"].steps.high) == (30, 30)
    # and what a model cannot do better anyway stays
    assert catalogue["schnell"].steps == TOOLS["schnell"].steps


def test_age_restricted_channels_are_spared_by_the_classifier_unless_it_is_said_otherwise() -> None:
    strict = ServerSettings(classifier="blur", classifier_threshold=80)
    assert strict.look(age_restricted=False).verdict == "blur"
    assert strict.look(age_restricted=False).threshold == 0.8
    assert strict.look(age_restricted=True).verdict == "off"
    everywhere = dataclasses.replace(strict, classifier_spares_age_restricted=False)
    assert everywhere.look(age_restricted=True).verdict == "blur"


def test_switches_are_named_so_that_on_and_off_answer_them() -> None:
    switches = [key for key in KEYS.values() if isinstance(key.kind, Switch)]
    assert switches
    assert all(key.description.startswith("Whether ") for key in switches)


def test_patterns_that_are_too_much_together_are_refused_though_each_may_be_used() -> None:
    heavy = [rf"(ab|cd|ef|gh){{40}}{n}" for n in range(200)]
    kind = KEYS["blocked_patterns"].kind
    assert kind.load(heavy[:1]) == (heavy[0],)
    with pytest.raises(RequestError, match="too much memory together"):
        kind.load(heavy)


DOCUMENT = Path(__file__).parents[1] / "docs" / "settings.md"


@EVERY_KEY
def test_the_page_for_moderators_has_each_setting_as_it_is(key: Key) -> None:
    name = f"`{key.name}`" + ("" if key.per_channel else " †")
    default = key.kind.show(key.default)
    row = f"| {name} | {key.description} | {key.kind.hint} | {default} |"
    assert row in DOCUMENT.read_text(encoding="utf-8").splitlines()
