"""How log lines look: text for people, JSON for machines."""

from __future__ import annotations

import json
import logging
import re
import sys
from datetime import UTC, datetime
from typing import Literal

from bot.i18n import ENGLISH, speaking


class JsonFormatter(logging.Formatter):
    """One JSON object a line: time, level, logger, message, and the traceback if any."""

    def format(self, record: logging.LogRecord) -> str:
        line = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
        }
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=False)


class WithoutTokens(logging.Filter):
    """Takes the tokens of interactions out of records: discord.py logs the addresses it asks.

    What the records say of errors becomes English with that, whatever their job speaks.
    """

    _TOKEN = re.compile(r"(/(?:webhooks|interactions)/\d+/)[\w.-]{20,}")

    def filter(self, record: logging.LogRecord) -> bool:
        with speaking(ENGLISH):
            message = record.getMessage()
        record.msg, record.args = self._TOKEN.sub(r"\1<token>", message), ()
        return True


def configure_logging(level: str, style: Literal["text", "json"]) -> None:
    """Send all log records of `level` and above to standard error."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        JsonFormatter()
        if style == "json"
        else logging.Formatter("{asctime} {levelname:<7} {name}: {message}", style="{")
    )
    handler.addFilter(WithoutTokens())
    logging.basicConfig(level=level, handlers=[handler], force=True)
