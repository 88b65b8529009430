"""One option varied: how it is typed, and the requests that it stands for."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.errors import RequestError, UnsupportedQuantization
from bot.inference.requests import fill, text_to_image
from bot.inference.residency import model_of
from bot.inference.sweeps import (
    LEAST_CELLS,
    MAX_TEXT,
    MOST_CELLS,
    compare,
    examples,
    labels,
    parse,
    single,
    swept,
    variations,
)
from bot.inference.tools import FAMILIES
from bot.inference.types import SEED_LIMIT, VARIED, Region, Request, Sweep

FLUX = FAMILIES["flux"]


def ask(**options: Any) -> Request:
    return text_to_image(FLUX, **({"model": "dev", "prompt": "a cat", "seed": 7} | options))


def typed(text: str, request: Request | None = None) -> Request:
    """Return the request of `/generate` with a sweep that is typed."""
    request = request or ask()
    return swept(request, parse(text, FLUX, model=request.tool, seed=request.seed))


def refusal(text: str, model: str = "dev", **options: Any) -> str:
    with pytest.raises(RequestError) as refused:
        parse(text, FLUX, model=model, **options)
    sentence = str(refused.value)
    assert re.fullmatch(r"[A-Z`].*\.", sentence)
    return sentence


@pytest.mark.parametrize(
    ("text", "option", "values"),
    [
        ("steps 1 2 4 8", "steps", (1, 2, 4, 8)),
        ("steps 1,2,4,8", "steps", (1, 2, 4, 8)),
        ("  Steps: 1, 2 ; 4\n8 ", "steps", (1, 2, 4, 8)),
        ("steps=8 1", "steps", (8, 1)),
        ("guidance 2 3.5 5", "guidance", (2.0, 3.5, 5.0)),
        ("guidance .5 0", "guidance", (0.5, 0.0)),
        ("seed 1 2 3", "seed", (1, 2, 3)),
        ("seed 3", "seed", (7, 8, 9)),
        ("model schnell dev krea", "model", ("schnell", "dev", "krea")),
        ("MODEL Dev, Schnell", "model", ("dev", "schnell")),
        ("quantization 8-bit none", "quantization", ("8-bit", "None")),
        (f"steps {' '.join(map(str, range(1, 17)))}", "steps", tuple(range(1, 17))),
    ],
)
def test_a_sweep_is_typed_with_spaces_or_commas(
    text: str, option: str, values: tuple[object, ...]
) -> None:
    sweep = parse(text, FLUX, model="dev", seed=7)
    assert (sweep.option, sweep.values) == (option, values)


def test_seeds_that_are_counted_begin_with_the_one_that_was_given_and_go_round() -> None:
    sweep = parse("seed 3", FLUX, model="dev", seed=SEED_LIMIT - 2, given=["seed"])
    assert sweep.values == (SEED_LIMIT - 2, SEED_LIMIT - 1, 0)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "`sweep` begins with what it varies: steps, guidance, seed, model, quantization."),
        (" ,, ", "`sweep` begins with what it varies"),
        ("1 2 4 8", "`sweep` begins with what it varies"),
        ("size 1 2", "`sweep` begins with what it varies"),
        ("steps", "A sweep has 2 pictures at least. For example `sweep:steps 1 2 4 8`."),
        ("steps 4", "A sweep has 2 pictures at least."),
        ("seed 1", "A sweep has 2 pictures at least."),
        ("seed 17", "A sweep has 16 pictures at most, and this would be 17. Name fewer values."),
        (f"steps {' '.join(map(str, range(1, 18)))}", "A sweep has 16 pictures at most"),
        ("steps 4 8 4", "`sweep` has the value `4` twice. Name each value once."),
        ("guidance 2 2.0", "`sweep` has the value `2` twice."),
        ("model dev DEV", "`sweep` has the value `dev` twice."),
        ("steps 4 51", "`steps` is 51, but it goes from 1 to 50 here."),
        ("steps 4 -1", "`steps` is -1, but it goes from 1 to 50 here."),
        ("steps 4 2.5", "`2.5` is not a whole number."),
        ("steps one two", "`one` is not a whole number."),
        ("steps 4 `@here`" + "x" * 50, "`'@here'xxxxxxxxxxxxx` is not a whole number."),
        ("guidance 2 11", "`guidance` is 11, but it goes from 0 to 10 here."),
        ("guidance 2 much", "`much` is not a number. For example `sweep:guidance 2 3.5 5`."),
        ("guidance 2 nan", "`nan` is not a number."),
        ("guidance 2 1e999", "`1e999` is not a number."),
        ("seed 1 4294967296", "`seed` is 4294967296, but it goes from 0 to 4294967295 here."),
        ("model dev pro", "There is no model `pro` here. Choose one of schnell, dev, krea."),
        ("model dev fill", "There is no model `fill` here."),
    ],
)
def test_what_cannot_be_varied_is_refused_in_a_sentence(text: str, sentence: str) -> None:
    assert refusal(text).startswith(sentence)


def test_what_the_model_does_not_take_is_refused_in_the_words_of_its_command() -> None:
    assert refusal("guidance 2 3", "schnell").startswith(
        "FLUX.1 schnell is distilled and takes no `guidance`."
    )
    assert refusal("steps 4 13", "schnell").startswith("`steps` is 13, but it goes from 1 to 12")


def test_less_than_eight_bits_are_not_offered() -> None:
    with pytest.raises(UnsupportedQuantization, match="4-bit"):
        parse("quantization 8-bit 4-bit", FLUX, model="dev")


@pytest.mark.parametrize(
    ("text", "given", "sentence"),
    [
        ("steps 1 2", ["count"], "`count` and `sweep` do not go together. Leave `count` out"),
        ("steps 1 2", ["steps"], "`steps` does not go with a sweep of `steps`. Leave it out"),
        ("seed 1 2", ["seed"], "`seed` does not go with a sweep of `seed`."),
        ("model dev krea", ["guidance"], "`guidance` does not go with a sweep of `model`."),
        ("model dev krea", ["steps", "model"], "`model` does not go with a sweep of `model`."),
    ],
)
def test_what_a_sweep_sets_is_not_to_be_named_beside_it(
    text: str, given: list[str], sentence: str
) -> None:
    assert refusal(text, given=given).startswith(sentence)


def test_everything_else_may_be_named_beside_a_sweep() -> None:
    others = ["guidance", "seed", "model", "quantization"]
    assert parse("steps 1 2", FLUX, model="dev", given=others).values == (1, 2)


@given(
    st.one_of(
        st.text(max_size=MAX_TEXT),
        st.builds(
            lambda option, values: f"{option} {' '.join(values)}",
            st.sampled_from(VARIED),
            st.lists(
                st.one_of(
                    st.integers().map(str),
                    st.floats().map(str),
                    st.sampled_from(["dev", "schnell", "None", "8-bit", "٣", "1_0", "0x1", "-0"]),
                ),
                max_size=20,
            ),
        ),
    ),
    st.sampled_from(["schnell", "dev"]),
)
def test_whatever_is_typed_is_a_sweep_or_one_sentence(text: str, model: str) -> None:
    whole, sentence = None, ""
    try:
        whole = swept(ask(model=model), parse(text, FLUX, model=model, seed=7))
    except RequestError as error:
        sentence = str(error)
    if whole is None:
        assert sentence.endswith(".")
        assert len(sentence) < 300
        return
    assert LEAST_CELLS <= whole.cells <= MOST_CELLS
    assert len({json.dumps(each.options()) for each in variations(whole)}) == whole.cells
    assert Request.from_options(json.loads(json.dumps(whole.options()))) == whole


@pytest.mark.parametrize("model", ["schnell", "dev", "krea"])
def test_every_example_is_a_sweep_that_its_model_takes(model: str) -> None:
    tools = FLUX.tools("generate")
    offered = examples(tools[model], list(tools))
    assert [labels(parse(text, FLUX, model=model)) for text in offered]
    assert ("guidance 2 3.5 5" in offered) is (model == "dev")
    assert "steps 1 2 4 8" in offered or model != "schnell"


def test_models_are_no_example_where_there_is_one_alone() -> None:
    offered = examples(FLUX.tools()["dev"], ["dev"])
    assert not any(text.startswith("model") for text in offered)


def test_each_request_differs_from_a_plain_one_in_what_is_varied_alone() -> None:
    whole = typed("steps 1 2 4", ask(quantization="None", size="tall"))
    plain = ask(quantization="None", size="tall")
    assert variations(whole) == tuple(replace(plain, num_inference_steps=n) for n in (1, 2, 4))
    assert variations(plain) == (plain,)


def test_a_sweep_of_models_takes_the_steps_and_guidance_of_each() -> None:
    cells = variations(typed("model schnell dev krea", ask(size="tall")))
    assert cells == tuple(ask(model=model, size="tall") for model in ("schnell", "dev", "krea"))


def test_what_is_said_besides_the_sweep_is_that_of_its_first_picture() -> None:
    whole = typed("model schnell krea", ask(model="dev"))
    assert replace(whole, sweep=None) == variations(whole)[0]
    assert model_of(whole) == model_of(ask(model="schnell"))


def test_a_sweep_has_the_seed_of_each_of_its_pictures() -> None:
    assert typed("seed 5 3 9").seeds == (5, 3, 9)
    assert typed("steps 1 2 4").seeds == (7, 7, 7)
    assert typed("steps 1 2 4").cells == 3
    assert ask(count=4).cells == 1


def test_a_sweep_survives_json_with_its_models() -> None:
    whole = typed("model schnell dev")
    again = Request.from_options(json.loads(json.dumps(whole.options())))
    assert again == whole
    assert variations(again) == variations(whole)


def test_what_was_recorded_before_there_were_sweeps_has_none() -> None:
    options = ask().options()
    del options["sweep"]
    assert Request.from_options(options) == ask()


def test_two_quantizations_of_one_picture_of_several_are_compared() -> None:
    request = ask(count=4, seed=SEED_LIMIT - 1)
    whole = compare(request, 2)
    assert whole.sweep == Sweep(option="quantization", values=("8-bit", "None"))
    assert variations(whole) == (ask(seed=0), ask(seed=0, quantization="None"))


def test_what_was_in_full_precision_is_compared_just_so() -> None:
    assert compare(ask(quantization="None"), 1) == compare(ask(), 1)


def test_the_images_of_a_tool_are_carried_along_to_each_picture() -> None:
    request = fill(FLUX, image=b"a photo", prompt="a cat", seed=7, region=Region(area="centre"))
    cells = variations(compare(request, 1))
    assert [cell.images for cell in cells] == [{"image": b"a photo"}] * 2
    assert [cell.region for cell in cells] == [request.region] * 2


def test_one_picture_of_a_sweep_is_had_alone_and_compared() -> None:
    whole = typed("steps 2 4")
    assert single(whole, 2) == ask(steps=4)
    assert variations(compare(whole, 2)) == (ask(steps=4), ask(steps=4, quantization="None"))
    assert single(ask(count=3), 3) == ask(seed=9)


@pytest.mark.parametrize("position", [0, 3, -1])
def test_there_is_no_picture_beyond_those_of_the_request(position: int) -> None:
    with pytest.raises(RequestError, match=f"There is no picture {position}"):
        single(ask(count=2), position)
    with pytest.raises(RequestError, match=f"There is no picture {position}"):
        compare(typed("steps 1 2"), position)
