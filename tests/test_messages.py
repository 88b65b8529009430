"""What people read of a job."""

from __future__ import annotations

from dataclasses import replace

import pytest

from bot.inference.types import Progress, Queued, Weights
from bot.jobs import Ended
from bot.messages import compose, memory_line, progress_line, quoted
from bot.storage import Job
from bot.units import format_bytes, format_seconds

from .test_storage import ORIGIN, REQUEST, RESULT

JOB = Job(
    id=12,
    state="queued",
    origin=ORIGIN,
    request=REQUEST,
    outcome=None,
    error=None,
    created_at=0.0,
    started_at=None,
    finished_at=None,
)


def test_progress_shows_the_stage_the_steps_and_the_seconds_left() -> None:
    line = progress_line(Progress(stage="denoise", step=7, total=28, seconds=3.5))
    assert line == "Painting  `███░░░░░░░░░`  7/28  ·  10.5 s left"


def test_progress_without_steps_shows_the_stage_alone() -> None:
    assert progress_line(Progress(stage="load")) == "Loading the model …"


@pytest.mark.parametrize(
    ("position", "line"),
    [
        (1, "Starting …"),
        (2, "Waiting: 1 job before this one."),
        (5, "Waiting: 4 jobs before this one."),
    ],
)
def test_waiting_says_how_many_come_before(position: int, line: str) -> None:
    embed = compose(JOB, Queued(position=position)).embed
    assert embed.description == f"> a «cat» 🐈\n\n{line}"


def test_an_end_without_pictures_says_why() -> None:
    embed = compose(JOB, Ended(state="failed", text="The disk is full.")).embed
    assert embed.description == "> a «cat» 🐈\n\nThe disk is full."


def test_a_fall_back_is_shown_with_its_reason() -> None:
    embed = compose(JOB, RESULT).embed
    values = {field.name: field.value for field in embed.fields}
    assert values["Quantization"] == "None instead of 8-bit: quantising failed"


def test_a_text_encoder_that_fell_back_alone_is_named() -> None:
    result = replace(RESULT, quantization="8-bit", fallback_reason="quantising T5 failed")
    values = {field.name: field.value for field in compose(JOB, result).embed.fields}
    assert values["Quantization"] == "8-bit, but quantising T5 failed"


def test_files_have_the_prompt_as_alt_text_and_the_spoiler_as_asked() -> None:
    hidden = replace(JOB, origin=replace(ORIGIN, spoiler=True))
    first, second = (each.to_file() for each in compose(hidden, RESULT).attachments)
    assert (first.filename, second.filename) == ("SPOILER_dev-12-1.png", "SPOILER_dev-12-2.png")
    assert first.description == "a «cat» 🐈"


def test_the_memory_line_compares_with_both_formats() -> None:
    memory = replace(
        RESULT.memory,
        device="NVIDIA H200",
        peak=18_900_000_000,
        resident=29_100_000_000,
        weights=Weights(actual=17_200_000_000, bfloat16=33_700_000_000, float32=67_400_000_000),
    )
    assert memory_line(memory) == (
        "NVIDIA H200: peak 18.9 GB, weights resident 29.1 GB\n"
        "Weights of this job 17.2 GB: 49 % less than in bf16, 74 % less than in fp32"
    )


def test_the_whole_message_stays_inside_discords_limits() -> None:
    long = replace(JOB, request=replace(REQUEST, prompt="*_`|" * 500))
    result = replace(RESULT, notes=("note " * 400,), fallback_reason="reason " * 300)
    for event in (result, Ended(state="failed", text="reason " * 1000)):
        embed = compose(long, event).embed
        assert len(embed) <= 6000
        assert len(embed.description or "") <= 4096
        assert all(len(field.value or "") <= 1024 for field in embed.fields)


def test_a_prompt_is_one_line_of_a_quote_however_many_it_had() -> None:
    assert quoted("one\n\n# two\r\n> three") == "> one # two > three"


def test_units_are_those_that_people_use() -> None:
    assert format_bytes(16_670_000_000) == "16.7 GB"
    assert format_bytes(8_826_132) == "8.8 MB"
    assert format_seconds(0.164) == "0.16 s"
    assert format_seconds(4.23) == "4.2 s"
    assert format_seconds(200) == "3 min 20 s"
