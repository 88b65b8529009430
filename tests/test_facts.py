"""What is known of a job, in the same order and the same words everywhere."""

from __future__ import annotations

from dataclasses import replace

import pytest

from bot.captions import alt_text, caption
from bot.facts import asked, facts, lines, memory_line
from bot.i18n import speaking
from bot.inference.types import Region, Request, Weights

from .catalogues import Catalogues
from .test_messages import JOB
from .test_storage import REQUEST, RESULT

ORDER = [
    "Size",
    "Steps",
    "Guidance",
    "Quantization",
    "Seeds",
    "Repainted",
    "Edges",
    "Images",
    "Strength",
    "Time",
    "Memory",
    "Note",
]

MEMORY = replace(
    RESULT.memory,
    device="NVIDIA H200",
    peak=18_900_000_000,
    resident=29_100_000_000,
    weights=Weights(actual=17_200_000_000, bfloat16=33_700_000_000, float32=67_400_000_000),
)

REQUESTS = [
    REQUEST,
    replace(REQUEST, tool="fill", region=Region(area="left half")),
    replace(REQUEST, tool="canny", low=100, high=200),
    replace(REQUEST, tool="redux", strength=0.5),
    replace(REQUEST, guidance_scale=None),
]


@pytest.mark.parametrize("request_", REQUESTS, ids=lambda each: each.tool)
def test_the_facts_come_in_one_order_whatever_the_tool(request_: Request) -> None:
    result = replace(RESULT, notes=("Cut.",))
    names = [fact.name for fact in facts(request_, ("image",), result)]
    assert names == [name for name in ORDER if name in names]
    assert {"Size", "Steps", "Quantization", "Seeds", "Time", "Memory", "Note"} <= set(names)


@pytest.mark.parametrize("request_", REQUESTS, ids=lambda each: each.tool)
def test_before_there_is_a_result_the_same_is_said_of_the_request(request_: Request) -> None:
    before = {fact.name: fact.value for fact in facts(request_, ("image",))}
    after = {fact.name: fact.value for fact in facts(request_, ("image",), RESULT)}
    assert before["Quantization"] == "8-bit"
    del before["Quantization"], before["Size"]  # the engine has the last word on both
    assert before.items() < after.items()
    assert not {"Time", "Memory", "Note"} & set(before)


def test_a_size_that_is_like_the_image_is_not_known_before() -> None:
    like_the_image = replace(REQUEST, width=None, height=None)
    assert "Size" not in [fact.name for fact in facts(like_the_image, ("image",))]


def test_in_a_text_short_facts_stand_side_by_side() -> None:
    result = replace(RESULT, seeds=(7,), fallback_reason=None, notes=("Cut.",))
    first, *others = lines(facts(REQUEST, (), result))
    assert first.startswith("**Size** ")
    assert first.endswith(" · **Seed** 7")
    assert [line.split("**")[1] for line in others] == ["Time", "Memory", "Note"]
    assert others[-1] == "**Note** Cut."


def test_when_something_was_asked_each_reads_in_their_own_time() -> None:
    assert asked(replace(JOB, created_at=1_767_225_600.5)).value == "<t:1767225600:R>"


def test_the_memory_line_compares_with_both_formats() -> None:
    assert memory_line(MEMORY, "full") == (
        "NVIDIA H200: peak 18.9 GB, weights resident 29.1 GB\n"
        "Weights of this job 17.2 GB: 49 % less than in bf16, 74 % less than in fp32"
    )
    assert memory_line(MEMORY, "short") == (
        "NVIDIA H200: peak 18.9 GB, weights 49 % less than in bf16"
    )


def test_weights_that_take_more_than_before_are_said_to() -> None:
    heavier = replace(MEMORY, weights=Weights(actual=5, bfloat16=4, float32=8))
    assert "25 % more than in bf16, 38 % less than in fp32" in memory_line(heavier, "full")


def test_all_of_it_is_in_the_language_that_is_spoken(catalogues: Catalogues) -> None:
    catalogues.add(
        "fr",
        {
            "Repainted": "Repeint",
            "left {share}": "à gauche {share}",
            "what was added: {sides}": "ce qui a été ajouté : {sides}",
            "{size} GB": "{size} Go",
            "{device}: peak {peak}, weights {saved}": "{device} : pic {peak}, poids {saved}",
            "{share} less than in {dtype}": "{share} de moins qu’en {dtype}",
            "An image, repainted in part: {prompt}": "Une image, repeinte en partie : {prompt}",
            ("Variation of an image.", "Variation of {n} images."): (
                "Variation d’une image.",
                "Variation de {n} images.",
            ),
        },
    )
    request = replace(REQUEST, tool="fill", guidance_scale=2.5, region=Region(left=25))
    result = replace(RESULT, memory=MEMORY)
    with speaking("fr"):
        inline, *others = lines(facts(request, ("image",), result, "short"))
        spoken = "\n".join((inline, *others))
        read_out = alt_text(request, ("image",))
        variation = caption(
            replace(REQUEST, prompt="", tool="redux", strength=1.0), ("image", "image2")
        )
    assert "**Guidance** 2,5" in spoken
    assert "**Repeint** ce qui a été ajouté : à gauche 25 %" in spoken
    assert "NVIDIA H200 : pic 18,9 Go, poids 49 % de moins qu’en bf16" in spoken
    assert read_out == f"Une image, repeinte en partie : {request.prompt}"
    assert variation == "Variation de 2 images."
