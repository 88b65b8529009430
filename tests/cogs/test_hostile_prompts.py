"""Prompts that try to ping, to format, to break or to hide: plain text, painted, or refused."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.captions import ALT_TEXT_LIMIT, alt_text, caption, quoted
from bot.cogs._history_view import plain
from bot.inference.metadata import read_metadata
from bot.inference.requests import MAX_PROMPT
from tests.cogs.forgery import Watch, press, told, unchecked_options
from tests.cogs.messages import description, photo
from tests.conftest import Scene
from tests.doubles import HeldExecutor
from tests.records import REQUEST

PROMPTS = {
    "everyone": "@everyone @here",
    "members and roles": "<@123456789012345678> <@!123456789012345678> <@&123456789012345678>",
    "markdown": "# big\n**bold** __under__ ~~struck~~ ||spoiler|| `code` ```block``` > quote",
    "a masked link": "[free](https://evil.example/) https://discord.gg/x <https://x.example>",
    "other marks": "</settings reset:123456789012345678> <:a:123456789012345678> <t:0:R> <#1>",
    "small print": "-# Job 1\n-# Tâche 1",
    "right to left": "\u202e\u2066abc\u2069\u202d \u05d0\u05d1 \u061c",
    "nulls and bells": "a\x00b\x07c\x1b[31mred\x1b[0m\x7f\x85",
    "blanks": "\u200b\u200c\u200d\ufeff\u00ad\u3164\u115f",
    "marks upon marks": "Z" + "\u0301\u0489\u20dd" * 300,
    "lines": "a\n" * 900 + "\u2028\u2029\r\n",
    "beyond the first plane": "\U0001f3f4\U000e0067\U000e0062\U000e007f" * 100,
    "families": "\U0001f468\u200d\U0001f469\u200d\U0001f467" * 100,
    "private and none": "\ue000\uf8ff\ufffe\uffff\U0010ffff",
    "every category": "".join(map(chr, range(0x20, 0x20 + 1500))),
    "backslashes": "\\" * MAX_PROMPT,
    "asterisks": "*" * MAX_PROMPT,
    "ats": "@everyone" * 200,
    "one word": "a" * MAX_PROMPT,
    "JSON": '{"tool": "dev", "seed": 1} Steps: 4, Seed: 9, Size: 1x1',
    "a file": "attachment://../../etc/passwd SPOILER_x.png",
    "SQL": "'; DROP TABLE jobs; --",
    "a format": "{prompt} {0.__class__} %s %n {{",
    "half a character": "a \ud83d fox",
}
REFUSED = {
    "6,000 characters": ("a fox " * 1000, "The prompt has"),
    "nothing": ("   \n\t ", "The prompt is empty"),
}
DEFECT = "Something went wrong"
PINGS = re.compile(r"<@[!&]?\d+>|@(?:everyone|here)\b")

pieces = st.one_of(st.sampled_from(sorted(PROMPTS.values())), st.text(max_size=200))
prompts = st.lists(pieces, max_size=4).map("".join)


async def test_prompts_are_shown_as_plain_text_wherever_they_are_shown(
    held_scene: Scene, held: HeldExecutor, caplog: pytest.LogCaptureFixture
) -> None:
    watch = Watch(held_scene, caplog)
    for number, (name, prompt) in enumerate(PROMPTS.items()):
        message = await held_scene.begin(prompt=prompt, size="small square")
        shown = description(message)
        assert shown.startswith("> "), name
        assert not PINGS.search(shown), name
        assert len(shown) <= 4096
        await held.let_finish(number)
        await held_scene.app.jobs.idle()
        job = await held_scene.app.storage.job(number + 1)
        for custom_id in (f"past:job:{job.id}:0:m::", f"made:info:{job.id}:0"):
            answer = told(await press(held_scene, held_scene.alice, custom_id))
            assert DEFECT not in answer, name
            assert not PINGS.search(answer.replace(f"<@{held_scene.alice.id}>", "")), name
    for command in ("history", "queue", "privacy"):
        answer = told(await held_scene.alice.slash(held_scene.channel, command))
        assert answer
        assert DEFECT not in answer
    watch.check()


@pytest.mark.parametrize("name", PROMPTS)
async def test_any_text_can_be_looked_for_in_the_history(
    held_scene: Scene, caplog: pytest.LogCaptureFixture, name: str
) -> None:
    watch = Watch(held_scene, caplog)
    text = PROMPTS[name][:40]
    result = await held_scene.alice.slash(held_scene.channel, "history", text=text)
    assert "There is nothing yet." in told(result)
    watch.check()


@pytest.mark.parametrize("name", REFUSED)
async def test_what_is_no_prompt_is_refused_in_a_sentence(
    held_scene: Scene,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
) -> None:
    prompt, problem = REFUSED[name]
    watch = Watch(held_scene, caplog)
    with unchecked_options(monkeypatch):
        assert (await held_scene.refused(prompt=prompt)).startswith(problem)
    watch.check()


@pytest.mark.parametrize(
    "options",
    [
        {"model": "x" * 6000},
        {"model": "`@everyone`"},
        {"size": "@here" * 1000},
        {"quantization": "4-bit`" * 900},
        {"steps": 2**53},
        {"steps": -1},
        {"guidance": 1e308},
        {"seed": -1},
        {"seed": 2**53},
        {"count": 0},
        {"count": 10**15},
    ],
    ids=lambda options: repr(options)[:20],
)
async def test_options_out_of_range_are_refused_in_a_sentence(
    held_scene: Scene,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
    options: dict[str, object],
) -> None:
    watch = Watch(held_scene, caplog)
    with unchecked_options(monkeypatch):
        sentence = await held_scene.refused(**options)
    assert sentence
    assert len(sentence) <= 2000
    assert DEFECT not in sentence
    watch.check()
    assert held_scene.app.jobs.unfinished() == []


async def test_what_lies_on_the_disk_has_no_name_of_a_members_and_one_owner(
    held_scene: Scene, held: HeldExecutor
) -> None:
    name, content = photo()
    await held_scene.begin()
    await held.let_finish(0)
    for filename in (name, "../../evil.png", "/etc/passwd", "a\x00b.png", "-rf .png", "CON.png"):
        await held_scene.alice.slash(
            held_scene.channel, "kontext", image=(filename, content), prompt=filename
        )
        await held_scene.app.jobs.cancel_where(lambda job: True, "Cancelled.")
        await held_scene.app.jobs.idle()
    assert len(list((held_scene.app.client.settings.data_dir / "inputs").iterdir())) == 1
    folder = held_scene.app.client.settings.data_dir
    known = re.compile(r"images|inputs|bot\.sqlite3(-wal|-shm)?|[0-9a-f]{64}|\d{8}-\d\.png")
    for path in folder.rglob("*"):
        assert known.fullmatch(path.name), path
        assert path.stat().st_mode & 0o077 == 0, path


async def test_the_models_paint_what_can_be_typed(
    scene: Scene, caplog: pytest.LogCaptureFixture
) -> None:
    watch = Watch(scene, caplog)
    for name in ("nulls and bells", "right to left", "beyond the first plane", "half a character"):
        message = await scene.generate(prompt=PROMPTS[name], size="small square", steps=1)
        (picture,) = message.attachments
        assert re.fullmatch(r"schnell-\d+-1\.png", picture.filename)
        metadata = read_metadata(await picture.read())
        assert metadata is not None
        assert len(metadata["prompt"]) == len(PROMPTS[name].strip())
    watch.check()


@given(prompts)
def test_no_text_about_a_prompt_pings_or_is_too_long(prompt: str) -> None:
    request = replace(REQUEST, prompt=prompt[:MAX_PROMPT])
    for shown in (quoted(prompt), caption(request, ()), plain(prompt)):
        assert not PINGS.search(shown)
    assert "\n" not in quoted(prompt)
    assert len(quoted(prompt)) < 4000
    assert len(alt_text(request, ())) <= ALT_TEXT_LIMIT
