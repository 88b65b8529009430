"""Write the pages about what the bot reads of its environment: `python -m tools.environment`.

`.env.example` and docs/environment.md say what bot/config.py does, each in its own form.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from pathlib import Path

from bot.config import variables

ROOT = Path(__file__).parents[1]
EXAMPLE, PAGE = ROOT / ".env.example", ROOT / "docs" / "environment.md"
WIDTH = 100

EXAMPLE_HEAD = """\
# Copy to .env and fill in what you need; every line is optional but for DISCORD_TOKEN.
# This file is made from bot/config.py: python -m tools.environment
"""

PAGE_HEAD = """\
# Environment variables

All that the bot reads of its environment, and of a file `.env` in the folder in which it is
started: the environment goes before the file. An empty value is none. A wrong one stops the start
with a sentence that names the variable and what is allowed; `python -m bot doctor` tells of
misspelt names.

Only `DISCORD_TOKEN` is needed. [.env.example](../.env.example) has them all, to be copied. This
page is made from `bot/config.py` by `python -m tools.environment`.

| variable | allowed | default | what it does |
|---|---|---|---|
"""


def example() -> str:
    """Return `.env.example`: each variable with its default, below what is to be known of it."""
    return EXAMPLE_HEAD + "".join(_example_entries())


def page() -> str:
    """Return docs/environment.md: each variable as a row of a table."""
    return PAGE_HEAD + "".join(_page_rows())


def _example_entries() -> Iterator[str]:
    for name, default, told in variables():
        yield f"\n{_comment(told.about)}{_comment(f'Allowed: {told.allowed}')}"
        yield f"{name}={_written(default)}\n"


def _page_rows() -> Iterator[str]:
    for name, default, told in variables():
        shown = f"`{_written(default)}`" if _written(default) else "empty"
        yield f"| `{name}` | {told.allowed} | {shown} | {told.about} |\n"


def _comment(text: str) -> str:
    return textwrap.fill(text, WIDTH, initial_indent="# ", subsequent_indent="# ") + "\n"


def _written(default: object) -> str:
    """Return a default as one writes it in `.env`."""
    if default is None:
        return ""
    if isinstance(default, float):
        return f"{default:g}"
    if isinstance(default, tuple | frozenset):
        return ", ".join(map(str, default))
    return str(default)


def main() -> None:
    """Write both."""
    for path, text in ((EXAMPLE, example()), (PAGE, page())):
        path.write_text(text, encoding="utf-8")
        print(path.relative_to(ROOT))


if __name__ == "__main__":
    main()
