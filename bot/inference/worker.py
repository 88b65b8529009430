"""The process that owns a device: requests come by standard input, events leave by its output.

Started by the executor as `python -m bot.inference.worker`. It alone imports torch.
"""

from __future__ import annotations

import logging
import os
import queue
import signal
import sys
import threading
import traceback
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, BinaryIO

from bot.errors import BotError
from bot.i18n import speak
from bot.inference import protocol
from bot.inference.protocol import (
    Cancel,
    Failed,
    Happened,
    Look,
    Ready,
    Run,
    Seen,
    Stopped,
    Unable,
    WorkerError,
    WorkerOptions,
)
from bot.logs import about_job, configure_logging, report_crashes

if TYPE_CHECKING:
    from bot.inference.engine import Engine
    from bot.inference.parts import Parts, Watch
    from bot.inference.pipelines import Pipelines
    from bot.inference.tools import Family

_log = logging.getLogger(__name__)


class Inbox:
    """Reads messages in a thread of its own, so that a cancel arrives while a step runs.

    `look` answers who wants to see the memory, from that thread.
    """

    look: Callable[[Look], None]

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self._runs: queue.SimpleQueue[Run] = queue.SimpleQueue()
        self._cancelled: set[int] = set()
        threading.Thread(target=self._read, name="inbox", daemon=True).start()

    def next_run(self) -> Run:
        """Wait for the next run."""
        return self._runs.get()

    @property
    def has_run(self) -> bool:
        """Whether a run waits."""
        return not self._runs.empty()

    def is_cancelled(self, number: int) -> bool:
        """Tell whether a run has been called off."""
        return number in self._cancelled

    def forget(self, number: int) -> None:
        """Drop what is known of a run that is over."""
        self._cancelled.discard(number)

    def _read(self) -> None:
        exit_code = 1
        try:
            while True:
                message = protocol.read(self._stream)
                if isinstance(message, Run):
                    self._runs.put(message)
                elif isinstance(message, Cancel):
                    self._cancelled.add(message.number)
                elif isinstance(message, Look):
                    self.look(message)
        except EOFError:
            exit_code = 0  # the bot is gone or closes us
        except Exception:
            _log.critical("the messages of the bot cannot be read any more", exc_info=True)
        finally:
            # at once: the main thread may be deep inside a kernel
            os._exit(exit_code)


class Outbox:
    """Writes messages to the pipe that was standard output when the process began."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self._turn = threading.Lock()

    def send(self, message: object) -> None:
        """Write one message and flush it; any thread may."""
        try:
            with self._turn:
                self._stream.write(protocol.pack(message))
                self._stream.flush()
        except BrokenPipeError:
            os._exit(0)  # the bot is gone, and nobody is there to be told


def take_standard_output() -> BinaryIO:
    """Keep the pipe of standard output for messages; what libraries print goes to the log."""
    pipe = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    return pipe


def build_engine(options: WorkerOptions) -> tuple[Engine, Pipelines]:
    """Import torch, choose the device and return the engine on it, with its pipelines."""
    pipelines = build_pipelines(options)

    from bot.inference.classifier import build_classifier
    from bot.inference.engine import Engine

    engine = Engine(
        pipelines,
        pipelines.device,
        previews=options.previews,
        classifier=build_classifier(options),
    )
    return engine, pipelines


def build_pipelines(
    options: WorkerOptions,
    *,
    family: Family | None = None,
    watch: Watch | None = None,
    make_parts: type[Parts] | None = None,
) -> Pipelines:
    """Import torch, choose the device and return the pipelines for it."""
    from bot.inference.devices import choose_device, choose_dtype, quiet_libraries

    if options.kernel_folder is not None:
        os.environ.setdefault("TRITON_CACHE_DIR", str(options.kernel_folder.absolute()))
    quiet_libraries()  # before their import: it is then that they give advice

    from bot.inference.memory import device_budget, host_budget
    from bot.inference.parts import Parts, unwatched
    from bot.inference.pipelines import Pipelines
    from bot.inference.tools import DEPTH_REPO, FAMILIES

    device = choose_device(options.device)
    return Pipelines(
        family or FAMILIES[options.family],
        device=device,
        dtype=choose_dtype(device),
        device_budget=device_budget(device, options.gpu_memory_gb),
        host_budget=host_budget(options.host_memory_gb) // options.host_share,
        token=options.hf_token,
        store_folder=options.store_folder,
        int8_kernel=options.int8_kernel,
        # the built-in family has one of its own
        depth_repo_id=options.depth_model if options.family == "flux" else DEPTH_REPO,
        watch=watch or unwatched,
        make_parts=make_parts or Parts,
    )


def serve(engine: Engine, pipelines: Pipelines, inbox: Inbox, outbox: Outbox) -> None:
    """Run what comes in, one after the other, until the process is ended."""
    from bot.inference.warm_up import warm_up

    inbox.look = lambda look: outbox.send(Seen(look.number, engine.memory()))
    outbox.send(Ready(str(pipelines.device)))
    if pipelines.device.type == "cuda":
        warm_up(engine, pipelines, is_wanted=lambda: not inbox.has_run)
    while True:
        run = inbox.next_run()
        with about_job(run.job):
            message = outcome(engine, run, partial(inbox.is_cancelled, run.number), outbox.send)
        outbox.send(message)
        if isinstance(message, Failed) and message.fatal:
            sys.exit(1)
        inbox.forget(run.number)


def outcome(
    engine: Engine,
    run: Run,
    is_cancelled: Callable[[], bool],
    send: Callable[[Happened], None],
) -> Happened | Stopped | Failed:
    """Make what a run asks for, sending its progress, and return the message that ends it."""
    from bot.inference.devices import is_lost
    from bot.inference.watch import Cancelled

    speak(run.request.language)
    try:
        result = engine.run(
            run.request,
            report=lambda progress: send(Happened(run.number, progress)),
            cancelled=is_cancelled,
        )
    except Cancelled:
        return Stopped(run.number)
    except BotError as error:
        return Failed(run.number, error, traceback.format_exc())
    except Exception as error:
        # a defect: its own type may not cross the pipe, so only its text does
        defect = WorkerError(f"{type(error).__name__}: {error}")
        return Failed(run.number, defect, traceback.format_exc(), fatal=is_lost(error))
    return Happened(run.number, result)


def main() -> None:
    """Read the options from standard input and serve."""
    # a service manager signals the whole group: the bot decides when its worker ends
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    outbox = Outbox(take_standard_output())
    try:
        options: WorkerOptions = protocol.read(sys.stdin.buffer)
    except EOFError:
        sys.exit(0)  # the bot has ended in the meantime
    configure_logging(options.log_level, options.log_format, [options.hf_token])
    report_crashes()
    inbox = Inbox(sys.stdin.buffer)
    try:
        engine, pipelines = build_engine(options)
    except BotError as error:
        outbox.send(Unable(error))
        sys.exit(1)
    serve(engine, pipelines, inbox, outbox)


if __name__ == "__main__":
    main()
