"""Errors cross from the worker to the bot, and read as sentences."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest

from bot import errors

EXAMPLES = [
    errors.ConfigurationError("DEVICE", "is `gpu`", "auto, cuda, mps, cpu"),
    errors.DiscordUnreachable("no route to host"),
    errors.DiscordRefused("403 Forbidden"),
    errors.RequestError("The prompt is empty.", "Say what the picture shall show."),
    errors.UnsupportedQuantization("4-bit"),
    errors.AttachmentUnreadable("cat.png", "it is not there any more"),
    errors.UnusableImage("The file is no picture.", "Attach a PNG, JPEG, WebP, GIF or AVIF."),
    errors.ModelUnavailable("black-forest-labs/FLUX.1-dev", "it is gated."),
    errors.NotEnoughSpace(Path("data"), "35.9 GB", "12.0 GB"),
    errors.NotPrepared("transformer of black-forest-labs/FLUX.1-dev"),
    errors.OutOfMemory("for 1344×768 pixels", "Use `quantization: 8-bit`."),
    errors.UnusablePicture(),
    errors.ClassifierUnavailable("The operator has to set CLASSIFIER, which names no model."),
    errors.WorkerDied(-9),
    errors.WorkerDied(1, starting=True),
    errors.WorkerHung(300.0),
    errors.Refused("The bot is switched off in <#1>.", "Use another channel."),
    errors.JobError("This is over."),
    errors.StorageError(Path("data"), "Permission denied"),
    errors.DiskFull(Path("data"), "No space left on device"),
]


@pytest.mark.parametrize("error", EXAMPLES, ids=lambda error: type(error).__name__)
def test_every_error_is_a_sentence_that_survives_the_pipe(error: errors.BotError) -> None:
    copy = pickle.loads(pickle.dumps(error))
    assert type(copy) is type(error)
    assert str(copy) == str(error)
    assert str(error).endswith(".")
    assert str(error)[0].isupper()


def test_no_error_is_left_out_here() -> None:
    def leaves(kind: type) -> set[type]:
        below = kind.__subclasses__()
        own = {kind} if kind.__module__ == "bot.errors" and kind.__init__ else set()
        return own.union(*(leaves(sub) for sub in below))

    abstract = {errors.BotError, errors.InferenceError}
    assert leaves(errors.BotError) - abstract == {type(error) for error in EXAMPLES}
