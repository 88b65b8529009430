"""Errors cross from the worker to the bot, and read as sentences of the reader's language."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest

from bot import errors
from bot.i18n import speaking
from tests.catalogues import Catalogues

EXAMPLES = [
    errors.ConfigurationError("DEVICE", "is `gpu`", "auto, cuda, mps, cpu"),
    errors.DiscordUnreachable("no route to host"),
    errors.DiscordRefused("403 Forbidden"),
    errors.RequestError("The prompt is empty.", "Say what the picture shall show."),
    errors.UnsupportedQuantization("4-bit"),
    errors.AttachmentUnreadable("cat.png", "it is not there any more"),
    errors.UnusableImage("The file is no picture.", "Attach a PNG, JPEG, WebP, GIF or AVIF."),
    errors.ModelUnavailable("black-forest-labs/FLUX.1-dev", "it is gated."),
    errors.DownloadBroke("black-forest-labs/FLUX.1-dev", "ConnectError: no route to host"),
    errors.DownloadDamaged("black-forest-labs/FLUX.1-dev", "vae/model.safetensors"),
    errors.NotEnoughSpace(Path("data"), "23.9 GB", "35.9 GB", "12.0 GB"),
    errors.DiskFilled(Path("data")),
    errors.NotPrepared("transformer of black-forest-labs/FLUX.1-dev"),
    errors.OutOfMemory("The memory is not enough for this.", "Use `quantization: 8-bit`."),
    errors.UnusablePicture(),
    errors.ClassifierUnavailable("The operator has to set CLASSIFIER, which names no model."),
    errors.WorkerDied(-9),
    errors.WorkerDied(1, starting=True),
    errors.WorkerHung(300.0),
    errors.RayUnavailable(None, "the port 6379 is taken"),
    errors.RayUnavailable("auto", "connection refused"),
    errors.Refused("The bot is switched off in <#1>.", "Use another channel."),
    errors.JobError("This is over."),
    errors.BackupError("The file backup.zip is there already.", "Name another file."),
    errors.StorageError(Path("data"), "Permission denied"),
    errors.DiskFull(Path("data"), "No space left on device"),
    errors.StorageBusy(Path("data"), "database is locked"),
]

ENGLISH = (
    errors.ConfigurationError
    | errors.DiscordUnreachable
    | errors.DiscordRefused
    | errors.DownloadBroke
    | errors.DownloadDamaged
    | errors.NotEnoughSpace
    | errors.DiskFilled
    | errors.NotPrepared
    | errors.RayUnavailable
)
"""What the command line alone says."""


def has_words_of_its_own(error: errors.BotError) -> bool:
    """Tell whether an error adds to what it is given, which who raises it has translated."""
    return str(error) != " ".join(map(str, error.args))


@pytest.mark.parametrize("error", EXAMPLES, ids=lambda error: type(error).__name__)
def test_every_error_is_a_sentence_that_survives_the_pipe(error: errors.BotError) -> None:
    copy = pickle.loads(pickle.dumps(error))
    assert type(copy) is type(error)
    assert str(copy) == str(error)
    assert str(error).endswith(".")
    assert str(error)[0].isupper()


@pytest.mark.parametrize("error", EXAMPLES, ids=lambda error: type(error).__name__)
def test_every_error_of_discord_speaks_the_language_of_who_reads_it(
    error: errors.BotError, catalogues: Catalogues
) -> None:
    catalogues.add_quoted("fr")
    with speaking("fr"):
        said = str(error)
    assert said.replace("« ", "").replace(" »", "") == str(error)
    speaks = has_words_of_its_own(error) and not isinstance(error, ENGLISH)
    assert said.startswith("«") == speaks


def test_no_error_is_left_out_here() -> None:
    def leaves(kind: type) -> set[type]:
        below = kind.__subclasses__()
        own = {kind} if kind.__module__ == "bot.errors" and kind.__init__ else set()
        return own.union(*(leaves(sub) for sub in below))

    abstract = {errors.BotError, errors.InferenceError}
    assert leaves(errors.BotError) - abstract == {type(error) for error in EXAMPLES}
