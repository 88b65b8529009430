"""How long a request will take, judged by those that were done."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bot.forecasts import Forecasts
from bot.inference.types import Request, Sweep

# a slow machine is no defect
settings.register_profile("patient", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("patient")

STAGES = {"wait": 50.0, "load": 4.0, "encode": 0.1, "denoise": 2.8, "decode": 0.2}

times = st.floats(min_value=0.001, max_value=100)


def request(**values: Any) -> Request:
    usual: dict[str, Any] = {
        "tool": "dev",
        "prompt": "a",
        "width": 1024,
        "height": 1024,
        "num_inference_steps": 28,
        "guidance_scale": 3.5,
        "seed": 1,
    }
    return Request(**usual | values)


@pytest.fixture
def forecasts() -> Forecasts:
    """Return what is known after one picture of one megapixel with dev at 8 bits."""
    forecasts = Forecasts()
    forecasts.learn(request(), STAGES, "8-bit")
    return forecasts


def test_nothing_is_known_before_the_first_job() -> None:
    assert Forecasts().seconds(request()) is None
    assert Forecasts().load_seconds() == 0


def test_the_same_request_takes_as_long_again_without_waiting_and_loading(
    forecasts: Forecasts,
) -> None:
    assert forecasts.seconds(request()) == pytest.approx(3.1)


def test_steps_cost_their_own_time_and_pictures_the_whole(forecasts: Forecasts) -> None:
    assert forecasts.seconds(request(num_inference_steps=14)) == pytest.approx(1.4 + 0.3)
    assert forecasts.seconds(request(count=4)) == pytest.approx(4 * 3.1)


def test_what_was_learnt_of_several_pictures_serves_for_one() -> None:
    forecasts = Forecasts()
    four = {stage: 4 * seconds for stage, seconds in STAGES.items()}
    forecasts.learn(request(count=4), four, "8-bit")
    assert forecasts.seconds(request()) == pytest.approx(3.1)


def test_a_size_like_the_image_counts_as_a_megapixel(forecasts: Forecasts) -> None:
    assert forecasts.seconds(request(width=None, height=None)) == pytest.approx(3.1)


def test_another_size_is_scaled_from_the_nearest_by_pixels(forecasts: Forecasts) -> None:
    assert forecasts.seconds(request(width=512, height=512)) == pytest.approx(3.1 / 4)
    forecasts.learn(request(width=512, height=512), {"denoise": 1.0}, "8-bit")
    assert forecasts.seconds(request(width=512, height=256)) == pytest.approx(0.5)
    assert forecasts.seconds(request(width=1024, height=768)) == pytest.approx(3.1 * 0.75)


def test_a_tool_that_was_never_used_is_judged_by_the_others(forecasts: Forecasts) -> None:
    assert forecasts.seconds(request(tool="fill")) == pytest.approx(3.1)
    forecasts.learn(request(tool="depth"), {"denoise": 5.1}, "8-bit")
    assert forecasts.seconds(request(tool="fill")) == pytest.approx(4.1)
    forecasts.learn(request(tool="fill"), {"denoise": 9.0}, "8-bit")
    assert forecasts.seconds(request(tool="fill")) == pytest.approx(9.0)


def test_another_quantization_says_nothing(forecasts: Forecasts) -> None:
    assert forecasts.seconds(request(quantization="None")) is None


def test_what_counts_is_the_quantization_that_was_used() -> None:
    forecasts = Forecasts()
    forecasts.learn(request(quantization="8-bit"), STAGES, "None")
    assert forecasts.seconds(request(quantization="8-bit")) is None
    assert forecasts.seconds(request(quantization="None")) == pytest.approx(3.1)


def test_a_sweep_takes_as_long_as_its_pictures(forecasts: Forecasts) -> None:
    swept = request(sweep=Sweep(option="steps", values=(14, 28)))
    assert forecasts.seconds(swept) == pytest.approx(1.7 + 3.1)


def test_a_sweep_of_which_one_picture_is_unknown_is_unknown(forecasts: Forecasts) -> None:
    compared = request(sweep=Sweep(option="quantization", values=("8-bit", "None")))
    assert forecasts.seconds(compared) is None
    forecasts.learn(request(), STAGES, "None")
    assert forecasts.seconds(compared) == pytest.approx(2 * 3.1)


def test_a_job_that_came_to_no_step_teaches_nothing_but_its_load() -> None:
    forecasts = Forecasts()
    forecasts.learn(request(), {"load": 4.0}, "8-bit")
    assert forecasts.seconds(request()) is None
    assert forecasts.load_seconds() == 4.0


def test_one_slow_job_moves_the_forecast_only_in_part(forecasts: Forecasts) -> None:
    forecasts.learn(request(), STAGES | {"denoise": 28.0}, "8-bit")
    assert 3.1 < (forecasts.seconds(request()) or 0) < 15
    for _ in range(20):
        forecasts.learn(request(), STAGES, "8-bit")
    assert forecasts.seconds(request()) == pytest.approx(3.1, rel=0.01)


def test_a_switch_takes_the_median_of_the_latest_that_were_one() -> None:
    forecasts = Forecasts()
    for load in (0.0, 0.04, 3.0, 4.0, 60.0):
        forecasts.learn(request(), STAGES | {"load": load}, "8-bit")
    assert forecasts.load_seconds() == 4.0
    for _ in range(9):
        forecasts.learn(request(), STAGES | {"load": 2.0}, "8-bit")
    assert forecasts.load_seconds() == 2.0


@given(st.lists(times, min_size=1))
def test_a_forecast_lies_within_what_was_seen(seen: list[float]) -> None:
    forecasts = Forecasts()
    for seconds in seen:
        forecasts.learn(request(), {"denoise": seconds}, "8-bit")
    forecast = forecasts.seconds(request())
    assert forecast is not None
    assert 0.999 * min(seen) <= forecast <= 1.001 * max(seen)


@given(
    st.tuples(st.integers(4, 90), st.integers(4, 90)),
    st.tuples(st.integers(4, 90), st.integers(4, 90)),
    st.integers(1, 50),
    st.integers(1, 4),
)
def test_more_steps_and_more_pictures_never_take_less(
    learnt: tuple[int, int], asked: tuple[int, int], steps: int, count: int
) -> None:
    forecasts = Forecasts()
    forecasts.learn(request(width=16 * learnt[0], height=16 * learnt[1]), STAGES, "8-bit")
    sizes = {"width": 16 * asked[0], "height": 16 * asked[1]}
    few = forecasts.seconds(request(num_inference_steps=steps, count=count, **sizes))
    more_steps = forecasts.seconds(request(num_inference_steps=steps + 1, count=count, **sizes))
    more_pictures = forecasts.seconds(request(num_inference_steps=steps, count=count + 1, **sizes))
    assert few is not None
    assert more_steps is not None
    assert more_pictures is not None
    assert 0 < few < min(more_steps, more_pictures)
