"""Errors whose `str()` is a sentence for the person who asked: what happened, what to try.

BotError
├── ConfigurationError            a variable of the environment is missing or wrong
├── DiscordUnreachable            nobody answers at the start
├── DiscordRefused                somebody does, and does not let the bot in
├── RequestError                  an option of a command is out of its range
│   ├── UnsupportedQuantization
│   ├── AttachmentUnreadable      a file that was attached could not be had from Discord
│   └── UnusableImage             a file that was attached cannot be worked with
├── InferenceError                the request was right, but no picture came of it
│   ├── ModelUnavailable
│   │   ├── DownloadBroke         in the middle, and can go on
│   │   └── DownloadDamaged
│   ├── NotEnoughSpace            for what `prepare` is to download and store
│   ├── DiskFilled                while `prepare` was at it
│   ├── NotPrepared
│   ├── OutOfMemory
│   ├── UnusablePicture
│   ├── ClassifierUnavailable     nobody can look at a picture that is to be looked at first
│   ├── RayUnavailable            no cluster answers, or none can be started
│   └── WorkerDied
│       └── WorkerHung
├── Refused                       a rule of the server or of the operator is against it
├── JobError                      a button or command names a job that cannot be acted on
├── BackupError                   a backup cannot be made or restored
└── StorageError                  the data folder cannot be used
    ├── DiskFull
    └── StorageBusy               another program holds the database

Anything that is not a BotError is a defect: it is logged with its traceback and shown as one
neutral sentence with a reference.

Sentences of a class's own are in the language that is spoken when they are read, those that it is
given in that of who raises it. What only the command line can meet is English.
"""

from __future__ import annotations

from pathlib import Path

from bot.i18n import _, number


class BotError(Exception):
    """An error made to be read by the person who caused or met it."""


class ConfigurationError(BotError):
    """A variable of the environment is missing or has a value that is not allowed."""

    def __init__(self, variable: str, problem: str, allowed: str) -> None:
        super().__init__(variable, problem, allowed)
        self.variable = variable

    def __str__(self) -> str:
        variable, problem, allowed = self.args
        return f"{variable} {problem}. Allowed: {allowed}."


class DiscordUnreachable(BotError):
    """Discord does not answer at the start."""

    def __str__(self) -> str:
        return f"Discord cannot be reached: {self.args[0]}. Check the network and start again."


class DiscordRefused(BotError):
    """Discord answers, and does not let the bot in."""

    def __str__(self) -> str:
        return (
            f"Discord refuses the bot: {self.args[0]}. "
            "Check the token and the application in Discord's developer portal."
        )


class RequestError(BotError):
    """An option of a command has a value that the tool does not take."""

    def __init__(self, problem: str, advice: str) -> None:
        super().__init__(problem, advice)

    def __str__(self) -> str:
        return " ".join(self.args)


class UnsupportedQuantization(RequestError):
    """Only 8-bit weights, or none quantised, give stable pictures."""

    def __init__(self, asked: str) -> None:
        Exception.__init__(self, asked)

    def __str__(self) -> str:
        return _(
            "Quantization `{asked}` is not offered: below 8 bits FLUX.1 was not stable. "
            "Use `8-bit`, or `None` for full precision.",
            asked=self.args[0],
        )


class AttachmentUnreadable(RequestError):
    """A file that a member attached did not come whole from where Discord keeps it."""

    def __init__(self, filename: str, reason: str) -> None:
        Exception.__init__(self, filename, reason)

    def __str__(self) -> str:
        filename, reason = self.args
        return _(
            "The file `{filename}` could not be read from Discord: {reason}. "
            "Please attach it once more.",
            filename=filename,
            reason=reason,
        )


class UnusableImage(RequestError):
    """A file that a member attached is no picture, is too large, or says too little."""


class InferenceError(BotError):
    """A request in order from which no picture came."""


class ModelUnavailable(InferenceError):
    """The weights of a model could not be loaded."""

    def __init__(self, repo_id: str, reason: str) -> None:
        super().__init__(repo_id, reason)

    def __str__(self) -> str:
        repo_id, reason = self.args
        return _(
            "The model {repo_id} could not be loaded: {reason}", repo_id=repo_id, reason=reason
        )


class DownloadBroke(ModelUnavailable):
    """The way to a model broke while it was downloaded; what has arrived is kept."""

    def __str__(self) -> str:
        repo_id, reason = self.args
        return (
            f"The model {repo_id} could not be downloaded to its end: {reason}. "
            "What has arrived is kept, and the same command goes on from there."
        )


class DownloadDamaged(ModelUnavailable):
    """A file of a model arrives in another form than the hub has it, again and again."""

    def __str__(self) -> str:
        repo_id, name = self.args
        return (
            f"The model {repo_id} arrives damaged: {name} has another checksum than on the hub, "
            "twice now. Check the disk and any proxy; the same command downloads this file anew."
        )


class NotEnoughSpace(InferenceError):
    """A disk cannot take what is to be downloaded and stored."""

    def __init__(self, folder: Path, missing: str, needed: str, free: str) -> None:
        super().__init__(folder, missing, needed, free)

    def __str__(self) -> str:
        folder, missing, needed, free = self.args
        return (
            f"The disk of {folder} lacks {missing}: this needs {needed}, and {free} are free "
            "there. Make room, or name fewer tools."
        )


class DiskFilled(InferenceError):
    """A disk ran full while something was downloaded or stored; what is complete is kept."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)

    def __str__(self) -> str:
        return (
            f"The disk of {self.args[0]} is full. Make room there; the same command goes on where "
            "it stopped."
        )


class NotPrepared(InferenceError):
    """A part could not be stored at 8 bits."""

    def __str__(self) -> str:
        return f"The {self.args[0]} could not be stored at 8 bits. The log says why."


class OutOfMemory(InferenceError):
    """The device has no room for the model or for the picture."""

    def __init__(self, problem: str, advice: str) -> None:
        super().__init__(problem, advice)

    def __str__(self) -> str:
        return " ".join(self.args)


class UnusablePicture(InferenceError):
    """The model gave numbers that are not a picture, in full precision too."""

    def __str__(self) -> str:
        return _(
            "The model gave no usable picture, in full precision neither. "
            "Try another seed or fewer steps."
        )


class ClassifierUnavailable(InferenceError):
    """A picture is to be looked at before it is shown, and what does that is not there or fails.

    The advice is English, and translated with the rest.
    """

    def __init__(self, advice: str) -> None:
        super().__init__(advice)

    def __str__(self) -> str:
        return _(
            "Pictures are checked here before they are shown, which fails now. {advice}",
            advice=_(self.args[0]),
        )


class RayUnavailable(InferenceError):
    """No Ray cluster answers at an address, or none can be started here; it may be there later."""

    def __init__(self, address: str | None, reason: str) -> None:
        super().__init__(address, reason)

    def __str__(self) -> str:
        address, reason = self.args
        if address is None:
            return f"Ray does not start here: {reason}. EXECUTOR=local does without it."
        return (
            f"No Ray answers at `{address}`: {reason}. Start the cluster, and this machine as a"
            " node of it, or leave RAY_ADDRESS empty to start one here."
        )


class WorkerDied(InferenceError):
    """The process that owns the device ended while it worked on a job, or before it was ready."""

    def __init__(self, exit_code: float | None, *, starting: bool = False) -> None:
        super().__init__(exit_code)
        self.starting = starting

    def __str__(self) -> str:
        if self.args[0] is None:
            return self._without_exit_code()
        if self.starting:
            return _(
                "The inference process could not be started (exit code {exit_code}). "
                "The operator finds the reason in the log.",
                exit_code=self.args[0],
            )
        return _(
            "The inference process ended while it worked on this (exit code {exit_code}). "
            "It has been started again: please send the command once more.",
            exit_code=self.args[0],
        )

    def _without_exit_code(self) -> str:
        if self.starting:
            return _(
                "The inference process could not be started. "
                "The operator finds the reason in the log."
            )
        return _(
            "The inference process ended while it worked on this. "
            "It has been started again: please send the command once more."
        )


class WorkerHung(WorkerDied):
    """The process that owns the device said nothing for too long, and was ended."""

    def __str__(self) -> str:
        return _(
            "The inference process said nothing for {seconds} s and was started again. "
            "Please send the command once more.",
            seconds=number(self.args[0]),
        )


class Refused(BotError):
    """A rule of the server or of the operator is against what was asked for."""

    def __init__(self, rule: str, advice: str) -> None:
        super().__init__(rule, advice)

    def __str__(self) -> str:
        return " ".join(self.args)


class JobError(BotError):
    """A job that is unknown, or over, or another member's."""


class BackupError(BotError):
    """The data folder cannot be written into a file, or a file cannot become one."""

    def __init__(self, problem: str, advice: str) -> None:
        super().__init__(problem, advice)

    def __str__(self) -> str:
        return " ".join(self.args)


class StorageError(BotError):
    """The data folder cannot be used."""

    def __init__(self, folder: Path, reason: str) -> None:
        super().__init__(folder, reason)

    def __str__(self) -> str:
        folder, reason = self.args
        return _(
            "The data folder {folder} cannot be used: {reason}. Mend it, or set DATA_DIR.",
            folder=folder,
            reason=reason,
        )


class DiskFull(StorageError):
    """There is no room left for a picture or a row."""

    def __str__(self) -> str:
        return _(
            "The disk that holds {folder} is full. The operator has to make room there.",
            folder=self.args[0],
        )


class StorageBusy(StorageError):
    """Another program has held the lock of the database for longer than the bot waits for it."""

    def __str__(self) -> str:
        return _(
            "Another program holds the bot's database. Please try again in a minute; if it happens"
            " once more, tell the operator to look at {folder}.",
            folder=self.args[0],
        )


def defect_sentence(reference: str) -> str:
    """Return what people read of an error that was not foreseen."""
    return _(
        "Something went wrong on the bot's side. Please try again; if it happens once more, "
        "tell the operator this reference: `{reference}`.",
        reference=reference,
    )
