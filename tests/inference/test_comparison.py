"""One step of a transformer in several forms."""

from __future__ import annotations

import pytest
import torch

from bot.inference.comparison import OURS, Comparison
from bot.inference.quantization import Loaded
from bot.inference.tools import TOOLS

from .conftest import CPU, make_pipelines


def comparison() -> Comparison:
    parts = make_pipelines().parts
    return Comparison(parts, TOOLS["dev"], device=CPU, dtype=torch.float32, runs=1)


def test_each_form_is_measured_against_the_standard() -> None:
    forms = {form.name: form for form in comparison().measure([(64, 64)])}
    assert list(forms) == ["standard", "quanto qint8", OURS]
    assert forms["standard"].error == 0
    assert 0 < forms["quanto qint8"].error < 0.1
    # without a GPU that is quanto's own way
    assert forms[OURS].error == forms["quanto qint8"].error
    assert forms[OURS].weights < 0.3 * forms["standard"].weights
    assert all(form.seconds > 0 and form.failure is None for form in forms.values())


def test_a_form_that_fails_says_so_and_the_others_go_on(monkeypatch: pytest.MonkeyPatch) -> None:
    measuring = comparison()

    def fail(_: Comparison) -> Loaded:
        raise RuntimeError("no such kernel\nin many lines")

    monkeypatch.setattr(Comparison, "_quanto", fail)
    forms = {form.name: form for form in measuring.measure([(64, 64)])}
    assert forms["quanto qint8"].failure == "RuntimeError: no such kernel"
    assert forms["standard"].failure is None
