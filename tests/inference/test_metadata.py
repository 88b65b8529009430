"""What a picture says of how it came about, and what is understood of anybody's picture."""

from __future__ import annotations

import io
import json
import re
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from bot.inference.metadata import (
    MAX_CHARACTERS,
    a1111,
    carried,
    describe,
    exif,
    parse_a1111,
    read_metadata,
    read_parameters,
    with_metadata,
)
from bot.inference.types import Region, Request

from ..hostile import HOSTILE, encode, scene

MADE_WITH = {
    "model": "black-forest-labs/FLUX.1-dev",
    "revision": "0123456789abcdef0123456789abcdef01234567",
    "kernel": "fused",
    "torch": "2.13.0+cu130",
    "bot": "0.1.0",
}
HASHES = {"image": "ab" * 32}
REQUEST = Request(
    tool="dev",
    prompt="a cat",
    width=1216,
    height=832,
    num_inference_steps=28,
    guidance_scale=3.5,
    seed=7,
)
PROMPTS = [
    "a cat",
    "a cat, a dog: both, 2: 1",
    'a sign that says "FLUX, 1"',
    "first line\nsecond, line: of it\n\nlast",
    "Zażółć gęślą jaźń 🐈 猫, 'quoted' \\ \"twice\"",
    "Steps: 4, Sampler: none, Seed: 1, Size: 2x2",
    "",
]
FORMATS = ["WEBP", "JPEG", "AVIF"]


def about(**options: Any) -> dict[str, Any]:
    """Return what a picture says of a request."""
    return describe(replace(REQUEST, **options), HASHES, MADE_WITH)


def copy(png: bytes, kind: str) -> bytes:
    """Encode a picture anew, as what is too large for Discord is."""
    with Image.open(io.BytesIO(png)) as image:
        return encode(image.convert("RGB"), kind, exif=carried(image))


def with_chunks(**chunks: str) -> bytes:
    info = PngInfo()
    for name, text in chunks.items():
        info.add_itxt(name, text)
    return encode(scene(), "PNG", pnginfo=info)


def test_other_programs_read_the_prompt_and_the_settings_in_their_own_words() -> None:
    assert a1111(about()) == (
        "a cat\n"
        "Steps: 28, Sampler: Euler, Schedule type: Simple, CFG scale: 1, Distilled CFG Scale: 3.5, "
        "Seed: 7, Size: 1216x832, Model: FLUX.1-dev, "
        "Model revision: 0123456789abcdef0123456789abcdef01234567, "
        "Quantization: 8-bit, Version: flux-discord-bot 0.1.0"
    )


def test_a_model_without_guidance_or_a_known_revision_names_none() -> None:
    made_with = {"model": "me/mine, too", "bot": "1"}
    text = a1111(describe(replace(REQUEST, guidance_scale=None), {}, made_with))
    assert "Distilled" not in text
    assert "revision" not in text
    assert 'Model: "mine, too", Quantization' in text


@pytest.mark.parametrize("prompt", PROMPTS)
def test_a_picture_says_all_of_it_and_keeps_its_pixels(prompt: str) -> None:
    said = about(prompt=prompt, region=Region(area="0, 0, 50, 50", adjustments=("grow",)))
    content = with_metadata(scene(), said)
    assert read_metadata(content) == json.loads(json.dumps(said))
    assert read_parameters(content) == a1111(said)
    assert Image.open(io.BytesIO(content)).tobytes() == scene().tobytes()


@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize("prompt", [*PROMPTS, 2000 * "🐈"])
def test_a_copy_in_another_format_says_the_same(prompt: str, kind: str) -> None:
    original = with_metadata(scene(), about(prompt=prompt))
    made_smaller = copy(original, kind)
    assert read_metadata(made_smaller) == read_metadata(original) == about(prompt=prompt)
    assert read_parameters(made_smaller) == read_parameters(original)
    again = copy(made_smaller, "WEBP")
    assert read_metadata(again) == about(prompt=prompt)


def test_the_comment_is_where_other_programs_look_for_it() -> None:
    block = Image.Exif()
    block.load(exif("a cat\nSteps: 4", '{"tool": "ä"}'))
    assert block.get_ifd(0x8769)[0x9286] == b"UNICODE\0" + "a cat\nSteps: 4".encode("utf-16-be")
    assert block[0x010E] == '{"tool": "\\u00e4"}'


def test_a_comment_in_the_other_order_of_bytes_is_read_too() -> None:
    text = "猫\nSteps: 4, Sampler: Euler, Seed: 1"
    block = Image.Exif()
    block.get_ifd(0x8769)[0x9286] = b"UNICODE\0" + text.encode("utf-16-le")
    assert read_parameters(encode(scene(), "JPEG", exif=block)) == text


def test_nothing_is_said_of_what_was_thought_of_the_picture() -> None:
    assert "classify" not in about(classify=True)


def test_a_picture_of_an_earlier_version_is_understood() -> None:
    said = {"tool": "dev", "prompt": "a cat", "seed": 7, "model": "black-forest-labs/FLUX.1-dev"}
    assert read_metadata(with_chunks(parameters=json.dumps(said))) == said


def test_what_another_program_says_is_read_as_text_and_is_not_ours() -> None:
    theirs = (
        "a dog\nNegative prompt: cats,\n  mice\nSteps: 20, Sampler: Euler a, Seed: 3, Size: 8x8"
    )
    content = with_chunks(parameters=theirs, prompt='{"tool": "theirs"}')
    assert read_metadata(content) is None
    text = read_parameters(content)
    assert text == theirs
    assert parse_a1111(text) == {
        "Prompt": "a dog",
        "Negative prompt": "cats,\n  mice",
        "Steps": "20",
        "Sampler": "Euler a",
        "Seed": "3",
        "Size": "8x8",
    }


def test_a_picture_that_says_nothing_is_nobodys() -> None:
    for kind in ("PNG", *FORMATS):
        content = encode(scene(), kind)
        assert read_metadata(content) is None
        assert read_parameters(content) is None
        assert carried(Image.open(io.BytesIO(content))) == b""


@given(
    prompt=st.text(max_size=200).filter(lambda text: "Negative prompt:" not in text),
    model=st.text(min_size=1).map(str.strip).filter(lambda name: name and "/" not in name),
    seed=st.integers(0, 2**32 - 1),
    steps=st.integers(1, 50),
    guidance=st.floats(0, 50) | st.none(),
)
def test_what_is_written_is_read_again(
    prompt: str, model: str, seed: int, steps: int, guidance: float | None
) -> None:
    request = replace(
        REQUEST, prompt=prompt, seed=seed, num_inference_steps=steps, guidance_scale=guidance
    )
    read = parse_a1111(a1111(describe(request, {}, MADE_WITH | {"model": model})))
    assert read["Prompt"] == prompt.strip()
    assert (read["Seed"], read["Steps"]) == (str(seed), str(steps))
    assert (read["Size"], read["Model"]) == ("1216x832", model)
    if guidance is not None:
        assert float(read["Distilled CFG Scale"]) == pytest.approx(guidance)


@given(st.text(st.characters()) | st.from_regex(re.compile(r'([\w:", \\\n]{0,9}){0,40}')))
def test_any_text_has_settings_that_can_be_shown(text: str) -> None:
    for name, value in parse_a1111(text).items():
        f"{name}: {value}".encode()


@pytest.mark.parametrize(
    "text",
    [
        MAX_CHARACTERS * "a",
        MAX_CHARACTERS * ",",
        MAX_CHARACTERS * '"',
        MAX_CHARACTERS // 2 * '\\"',
        MAX_CHARACTERS // 4 * 'a:"\\',
        MAX_CHARACTERS // 5 * 'a: ",',
        MAX_CHARACTERS // 4 * "aa: ",
        MAX_CHARACTERS // 2 * "a ",
        MAX_CHARACTERS * " " + "a: b",
        "a: 1, b: 2, c: " + MAX_CHARACTERS // 2 * "[",
    ],
    ids=lambda text: text[:8],
)
def test_a_text_made_to_be_slow_is_read_as_fast_as_any(text: str) -> None:
    settings = parse_a1111(text)  # pytest's own limit of time is what this is held to
    assert len(settings) <= 130


def test_a_text_without_end_is_taken_for_nothing() -> None:
    assert parse_a1111((MAX_CHARACTERS + 1) * "a") == {}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_file_says_nothing(name: str) -> None:
    data = HOSTILE[name].data
    assert read_metadata(data) is None
    assert read_parameters(data) is None


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "7",
        '"tool"',
        '{"prompt": "a cat"}',
        '{"tool": 7}',
        '{"tool": "dev"',
        '{"tool": "\\ud800"}',
        '{"tool": "dev", "seed": ' + 5000 * "9" + "}",
        '{"tool": ' + 20_000 * "[" + 20_000 * "]" + "}",
        json.dumps({"tool": "dev", "prompt": MAX_CHARACTERS * "a"}),
    ],
    ids=lambda text: text[:24],
)
def test_json_that_is_none_of_ours_is_no_metadata(text: str) -> None:
    assert read_metadata(with_chunks(flux=text)) is None
    assert read_metadata(with_chunks(parameters=text)) is None


def test_a_chunk_that_unpacks_to_more_than_a_megabyte_is_not_read() -> None:
    info = PngInfo()
    info.add_itxt("flux", json.dumps(about(prompt=2 * 10**7 * "a")), zip=True)
    content = encode(scene(), "PNG", pnginfo=info)
    assert len(content) < 10**5
    assert read_metadata(content) is None


@pytest.mark.parametrize("kind", ["PNG", *FORMATS])
@given(data=st.data())
def test_a_damaged_file_never_raises(kind: str, data: st.DataObject) -> None:
    original = with_metadata(scene(), about(prompt="Zażółć, 🐈"))
    content = bytearray(original if kind == "PNG" else copy(original, kind))
    for _ in range(data.draw(st.integers(1, 8))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    cut = bytes(content[: data.draw(st.integers(0, len(content)))])
    for damaged in (bytes(content), cut):
        said, text = read_metadata(damaged), read_parameters(damaged)
        assert said is None or isinstance(said["tool"], str)
        assert text is None or parse_a1111(text)


def test_what_is_too_long_for_a_jpeg_is_not_carried_along() -> None:
    content = with_chunks(
        flux=json.dumps({"tool": "dev", "prompt": 12_000 * "ä"}, ensure_ascii=False)
    )
    assert read_metadata(content) is not None
    assert read_metadata(copy(content, "JPEG")) is None
