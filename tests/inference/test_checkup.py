"""The look at a device: what it says, and the product that tries the kernels."""

from __future__ import annotations

import json
import sys

import pytest
import torch

from bot.errors import ConfigurationError
from bot.inference.checkup import TOLERANCE, error_of_product, examine, main
from bot.inference.sizes import DeviceFacts

CPU = torch.device("cpu")


def test_a_device_is_described_in_one_line_of_json(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["checkup", "cpu", "2.5"])
    main()
    facts = DeviceFacts(**json.loads(capsys.readouterr().out))
    assert (facts.type, facts.name, facts.budget) == ("cpu", "CPU", 2_500_000_000)
    assert 0 < facts.free <= facts.total


def test_a_device_that_is_not_there_is_an_answer_too(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["checkup", "cuda:63"])
    main()
    assert json.loads(capsys.readouterr().out)["error"].startswith("DEVICE is cuda:63, but")
    with pytest.raises(ConfigurationError):
        examine("cuda:63", None)


@pytest.mark.skipif(sys.platform != "linux", reason="there is no Triton for this system")
def test_the_kernels_multiply_as_they_should_and_a_wrong_product_is_noticed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert error_of_product(CPU) < TOLERANCE
    monkeypatch.setattr("bot.inference.int8_products.multiply", lambda *given: given[-1].zero_())
    assert error_of_product(CPU) > TOLERANCE
