"""When a replica holds its run for hung."""

from __future__ import annotations

import pytest

from bot.inference.protocol import Happened
from bot.inference.replica import Pulse
from bot.inference.types import Progress, Stage


def said(stage: Stage) -> Happened:
    return Happened(0, Progress(stage=stage))


def test_a_run_that_goes_on_has_a_pulse() -> None:
    pulse = Pulse(patience=5.0)
    pulse.begin(now=10.0)
    pulse.note(said("denoise"), now=14.0)
    assert not pulse.has_stopped(now=18.0)


@pytest.mark.parametrize("stage", ["encode", "denoise", "decode"])
def test_a_run_that_says_nothing_for_too_long_has_none(stage: Stage) -> None:
    pulse = Pulse(patience=5.0)
    pulse.begin(now=10.0)
    pulse.note(said(stage), now=14.0)
    assert pulse.has_stopped(now=19.5)


def test_a_run_that_never_said_anything_has_none() -> None:
    pulse = Pulse(patience=5.0)
    pulse.begin(now=10.0)
    assert pulse.has_stopped(now=15.5)


def test_what_loads_may_be_silent_for_it_may_be_a_download() -> None:
    pulse = Pulse(patience=5.0)
    pulse.begin(now=10.0)
    pulse.note(said("load"), now=11.0)
    assert not pulse.has_stopped(now=10_000.0)


def test_a_replica_that_rests_is_well() -> None:
    pulse = Pulse(patience=5.0)
    pulse.begin(now=10.0)
    pulse.end()
    assert not pulse.has_stopped(now=10_000.0)


def test_without_patience_nothing_is_too_long() -> None:
    pulse = Pulse(patience=None)
    pulse.begin(now=10.0)
    assert not pulse.has_stopped(now=10_000.0)
