"""What the tests of all kinds of settings ask of a value, and of what is none."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import assume

from bot.errors import RequestError
from bot.setting_kinds import Kind


def sentence(kind: Kind, text: str) -> str:
    """Return what is said of a text that is not a value."""
    with pytest.raises(RequestError) as refused:
        kind.parse(text)
    return str(refused.value)


def survives(kind: Kind, drawn: Any) -> None:
    """Assert that a value comes back from JSON, and from being edited as text."""
    try:
        value = kind.load(drawn)
    except RequestError:  # by chance it holds what cannot be found, or what could be an id
        assume(False)
    assert kind.load(json.loads(json.dumps(kind.dump(value)))) == value
    assert kind.load(value) == value
    assert kind.parse(kind.edit(value)) == value
    assert kind.show(value)
