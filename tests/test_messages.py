"""What people read of a job."""

from __future__ import annotations

from dataclasses import replace

import pytest

from bot.captions import quoted
from bot.events import Ended
from bot.facts import memory_line
from bot.i18n import speaking
from bot.inference.types import Progress, Queued, Region, Result
from bot.messages import archived, compose, mask_preview, progress_line, with_note
from bot.records import Draft, Job, Look

from .catalogues import Catalogues
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


def shown(job: Job, result: Result) -> dict[str | None, str | None]:
    """Return the fields of a result's message by name."""
    return {field.name: field.value for field in compose(job, result).embed.fields}


def with_look(look: Look) -> Job:
    return replace(JOB, origin=replace(ORIGIN, look=look))


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


def test_the_control_image_comes_last_described_and_is_never_a_spoiler() -> None:
    hidden = replace(
        JOB, origin=replace(ORIGIN, spoiler=True), request=replace(REQUEST, tool="canny")
    )
    files = compose(hidden, replace(RESULT, control_image=b"edges")).attachments
    *pictures, control = (each.to_file() for each in files or ())
    assert all(each.filename.startswith("SPOILER_canny-12-") for each in pictures)
    assert control.filename == "canny-12-control.webp"
    assert control.description == "The edges that the picture follows, white on black"
    assert control.fp.read() == b"edges"


def test_the_size_is_that_of_the_picture_and_not_that_of_the_request() -> None:
    like_the_image = replace(JOB, request=replace(REQUEST, width=None, height=None))
    assert shown(like_the_image, replace(RESULT, size=(144, 96)))["Size"] == "144×96"


def test_what_was_kept_from_an_earlier_job_is_said_in_the_place_of_its_time() -> None:
    result = replace(
        RESULT,
        seconds={"wait": 0.2, "annotate": 0.0, "encode": 0.0, "denoise": 1.5},
        reused=("annotate", "encode"),
    )
    assert shown(JOB, result)["Time"] == (
        "**1.7 s** in all: wait 0.20 s, annotate kept, encode kept, denoise 1.5 s"
    )


@pytest.mark.parametrize(
    ("region", "inputs", "words"),
    [
        (Region(), ("image", "mask"), "what the mask marks"),
        (Region(), ("image",), "what was transparent"),
        (Region(area="left  half"), ("image",), "left half"),
        (Region(words="the hat"), ("image", "mask"), "the hat"),
        (Region(words="*the* <hat>"), ("image", "mask"), r"\*the\* <hat>"),
        (
            Region(words="the hat", top=5, adjustments=("grow",)),
            ("image", "mask"),
            "the hat; what was added: top 5 %; the mask grown",
        ),
        (Region(left=25, bottom=10), ("image",), "what was added: left 25 %, bottom 10 %"),
        (
            Region(area="centre", top=5, adjustments=("grow", "grow", "feather")),
            ("image",),
            "centre; what was added: top 5 %; the mask grown ×2, feathered",
        ),
    ],
)
def test_what_was_repainted_is_said_in_words(
    region: Region, inputs: tuple[str, ...], words: str
) -> None:
    job = replace(JOB, request=replace(REQUEST, tool="fill", region=region), inputs=inputs)
    assert shown(job, RESULT)["Repainted"] == words


def test_the_own_options_of_a_tool_are_shown() -> None:
    canny = replace(JOB, request=replace(REQUEST, tool="canny", low=100, high=200))
    assert shown(canny, RESULT)["Edges"] == "low 100, high 200"
    redux = replace(
        JOB, request=replace(REQUEST, tool="redux", strength=0.5), inputs=("image", "image3")
    )
    values = shown(redux, RESULT)
    assert (values["Images"], values["Strength"]) == ("2", "0.5")


@pytest.mark.parametrize(
    ("inputs", "words"),
    [(("image",), "Variation of an image"), (("image", "image2"), "Variation of 2 images")],
)
def test_a_variation_without_words_says_what_it_was_made_of(
    inputs: tuple[str, ...], words: str
) -> None:
    request = replace(REQUEST, tool="redux", prompt="", strength=1.0)
    message = compose(replace(JOB, request=request, inputs=inputs), RESULT)
    assert message.embed.description == f"{words}."
    assert message.attachments
    assert message.attachments[0].description == words
    waiting = compose(replace(JOB, request=request, inputs=inputs), Queued(position=1))
    assert waiting.embed.description == f"{words}.\n\nStarting …"


def test_the_preview_of_a_mask_says_what_was_done_to_it() -> None:
    request = replace(REQUEST, tool="fill", region=Region(adjustments=("shrink", "invert")))
    draft = Draft(id=3, origin=replace(ORIGIN, spoiler=True), request=request, created_at=0.0)
    message = mask_preview(draft, b"picture")
    assert (message.embed.description or "").endswith("The mask is shrunk, inverted.")
    (file,) = message.attachments or ()
    assert file.to_file().filename == "mask-preview-3.jpg"  # its member alone sees it: no spoiler


def test_a_note_joins_those_that_are_there() -> None:
    bare = with_note(compose(JOB, RESULT), "Sent as WEBP.")
    noted = with_note(compose(JOB, replace(RESULT, notes=("Cut.",))), "Sent as WEBP.")
    values = [
        [field.value for field in message.embed.fields if field.name == "Note"]
        for message in (bare, noted)
    ]
    assert values == [["Sent as WEBP."], ["Sent as WEBP.\nCut."]]


def test_the_memory_is_told_as_the_server_wants_it() -> None:
    lines = {
        kind: shown(with_look(Look(memory_line=kind)), RESULT).get("Memory")
        for kind in ("full", "short", "off")
    }
    assert lines["full"] == shown(JOB, RESULT)["Memory"] == memory_line(RESULT.memory, "full")
    assert lines["short"] == "CPU: peak 0.0 kB, weights 50 % less than in bf16"
    assert lines["off"] is None


def test_the_copy_for_the_archive_says_who_asked_and_where_and_has_the_same_files() -> None:
    message = compose(JOB, replace(RESULT, notes=("Cut.",)))
    link = "https://discord.com/channels/1/2/3"
    copy = archived(JOB, message, link)
    assert copy.attachments == message.attachments
    values = {field.name: field.value for field in copy.embed.fields}
    assert values == {
        "Asked by": "<@1>",
        "Message": link,
        "Seeds": "4294967295, 0",
        "Note": "Cut.",
    }
    assert copy.embed.description == message.embed.description
    assert copy.arguments()["allowed_mentions"].to_dict() == {"parse": []}


def test_what_a_server_is_told_of_another_is_in_its_own_language(catalogues: Catalogues) -> None:
    translations = {"Seeds": "Graines", "Asked by": "Demandé par", "Job {id}": "Tâche {id}"}
    catalogues.add("fr", translations)
    message = compose(JOB, RESULT)
    with speaking("fr"):
        copy = archived(JOB, message, "https://discord.com/channels/1/2/3").embed
    assert [field.name for field in copy.fields] == ["Demandé par", "Message", "Graines"]
    assert copy.footer.text == "Tâche 12"


def test_the_whole_message_stays_inside_discords_limits() -> None:
    request = replace(
        REQUEST,
        tool="fill",
        prompt="*_`|" * 500,
        region=Region(area="10 " * 2000, adjustments=("grow", "shrink") * 100),
    )
    long = replace(JOB, request=request)
    result = replace(RESULT, notes=("note " * 400,), fallback_reason="reason " * 300)
    for event in (result, Ended(state="failed", text="reason " * 1000)):
        embed = with_note(compose(long, event), "note " * 100).embed
        assert len(embed) <= 6000
        assert len(embed.description or "") <= 4096
        assert all(len(field.value or "") <= 1024 for field in embed.fields)


def test_a_prompt_is_one_line_of_a_quote_however_many_it_had() -> None:
    assert quoted("one\n\n# two\r\n> three") == "> one # two > three"
