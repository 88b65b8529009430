"""How log lines look: text for people, JSON for machines, and secrets for nobody."""

from __future__ import annotations

import json
import logging
import re
import sys
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime
from types import TracebackType
from typing import Literal

from bot.i18n import ENGLISH, speaking

_log = logging.getLogger(__name__)

_job: ContextVar[int | None] = ContextVar("job", default=None)

_secrets: tuple[str, ...] = ()

_PATTERNS = tuple(
    (re.compile(pattern, re.IGNORECASE), shown)
    for pattern, shown in (
        # discord.py logs the addresses that it asks, and what the gateway says of interactions
        (r"(/(?:webhooks|interactions)/\d+/)[\w.-]{20,}", r"\1<token>"),
        (r"""(['"]token['"]\s*:\s*['"])[^'"]+""", r"\1<token>"),
        (r"""(authorization['"]?\s*[:=]\s*['"]?(?:bot|bearer)\s+)[^\s'",]+""", r"\1<token>"),
        (r"\b[\w-]{23,28}\.[\w-]{6,7}\.[\w-]{27,}", "<token>"),
        (r"\bhf_[a-z0-9]{20,}", "<token>"),
    )
)


def current_job() -> int | None:
    """Return the job that this task, or this thread, works for."""
    return _job.get()


@contextmanager
def about_job(job_id: int | None) -> Iterator[None]:
    """Let all that is logged in a block, and in the tasks that it starts, bear a job's id."""
    token = _job.set(job_id)
    try:
        yield
    finally:
        _job.reset(token)


def redact(text: str) -> str:
    """Return a text without tokens: those of the settings, and whatever looks like one."""
    for secret in _secrets:
        text = text.replace(secret, "<secret>")
    for pattern, shown in _PATTERNS:
        text = pattern.sub(shown, text)
    return text


class JsonFormatter(logging.Formatter):
    """One JSON object a line: time, level, logger, message, and job and traceback if any."""

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, object] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
        }
        if (job_id := getattr(record, "job", None)) is not None:
            line["job"] = job_id
        if record.exc_info:
            line["traceback"] = record.exc_text or self.formatException(record.exc_info)
        if record.stack_info:
            line["stack"] = record.stack_info
        return json.dumps(line, ensure_ascii=False)


class OfJob(logging.Filter):
    """Notes in records the job that they are about."""

    def filter(self, record: logging.LogRecord) -> bool:
        job_id = current_job()
        record.__dict__["job"] = job_id
        record.__dict__["of_job"] = "" if job_id is None else f"[job {job_id}] "
        return True


class WithoutSecrets(logging.Filter):
    """Takes tokens out of records: of message, arguments, traceback and stack.

    What the records say of errors becomes English with that, whatever their job speaks.
    """

    _formatter = logging.Formatter()

    def filter(self, record: logging.LogRecord) -> bool:
        with speaking(ENGLISH):
            record.msg, record.args = redact(record.getMessage()), ()
            if record.exc_info:
                # formatters take the text where there is one
                record.exc_text = redact(self._formatter.formatException(record.exc_info))
        if record.stack_info:
            record.stack_info = redact(record.stack_info)
        return True


def configure_logging(
    level: str, style: Literal["text", "json"], secrets: Iterable[str | None] = ()
) -> None:
    """Send all log records of `level` and above to standard error, none of them with `secrets`."""
    global _secrets
    _secrets = tuple(secret for secret in secrets if secret)
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        JsonFormatter()
        if style == "json"
        else logging.Formatter("{asctime} {levelname:<7} {of_job}{name}: {message}", style="{")
    )
    handler.addFilter(OfJob())
    handler.addFilter(WithoutSecrets())
    logging.basicConfig(level=level, handlers=[handler], force=True)


def report_crashes() -> None:
    """Let what nobody has caught go to the log like all else, in any thread, and warnings too."""
    logging.captureWarnings(True)
    sys.excepthook = _report
    threading.excepthook = lambda crash: _report(
        crash.exc_type, crash.exc_value, crash.exc_traceback
    )
    sys.unraisablehook = lambda crash: _report(crash.exc_type, crash.exc_value, crash.exc_traceback)


def _report(
    kind: type[BaseException], error: BaseException | None, traceback: TracebackType | None
) -> None:
    if not issubclass(kind, SystemExit):
        # without an instance, where Python is short of memory, the type alone says it
        _log.critical("nobody caught this", exc_info=(kind, error or kind(), traceback))
