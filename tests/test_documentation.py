"""The pages: what they link to is there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[1]
PAGES = sorted([*REPOSITORY.glob("*.md"), *(REPOSITORY / "docs").glob("*.md")])
LINK = re.compile(r"\]\((?!https?://|#)([^)#]+)(#[^)]*)?\)")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_of_a_page_leads_somewhere(page: Path) -> None:
    links = [match[1] for match in LINK.finditer(page.read_text("utf-8"))]
    assert [link for link in links if not (page.parent / link).exists()] == []


def test_every_page_can_be_found_from_the_readme() -> None:
    found, new = set[Path](), {REPOSITORY / "README.md"}
    while new:
        found |= new
        links = (
            (page.parent / m[1]).resolve()
            for page in new
            for m in LINK.finditer(page.read_text("utf-8"))
        )
        new = {link for link in links if link.suffix == ".md"} - found
    assert set(PAGES) - found == set()
