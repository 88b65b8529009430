"""Photograph the playground in headless Chromium: `python -m tools.screenshots [folder]`.

Each scene is a few steps that somebody takes in the channel after those of the scenes before it,
and is photographed in a window as wide as a desktop's and as a phone's. README and docs show these
pictures: after a change that can be seen, run this once, and look at what it has made.
"""

from __future__ import annotations

import argparse
import io
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from PIL import Image

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Locator, Page

FOLDER = Path(__file__).parent.parent / "docs" / "screens"
QUALITY = 70
"""Of WebP, at which letters are still sharp."""

WIDTHS: Mapping[str, int] = {"phone": 390, "desktop": 1280}
HEIGHT = 2400
"""Pixels, in which the longest answer is seen without scrolling."""

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
PATIENCE_MS = 60_000

STYLE = """
.messages-sidebar { box-shadow: none !important; }
.message-context-actions { display: none !important; }
#channel-message-list { padding-bottom: 24px; }
"""
"""What is of simcord's page alone and would lie over a message, and some room below it."""

DRAWN = """() => {
  const page = window.simcordPreview;
  return page?.ready && !page.awaitingRevision
    && page.presentation.host.width === page.geometry.host.width;
}"""
"""Whether simcord's page has drawn all that it knows, for a window of its width."""

FRAME = """message => {
  const parts = message.querySelectorAll(
    ".message-header > *, .attachment-image, .embed-card, .component-container, .component-button"
  );
  const right = Math.max(...[...parts].map(part => part.getBoundingClientRect().right));
  const { x, y, height } = message.getBoundingClientRect();
  return { x, y: y - 8, width: right - x + 16, height: height + 24 };
}"""
"""What there is to see of a message, without the empty room on its right."""


@dataclass(frozen=True, slots=True)
class Send:
    """Send a slash command, and wait for an answer that says `until`."""

    command: str
    options: Mapping[str, str] = field(default_factory=dict)
    until: str = ""


@dataclass(frozen=True, slots=True)
class Press:
    """Press the newest button of this label, and wait for an answer or a form that says `until`."""

    label: str
    until: str


@dataclass(frozen=True, slots=True)
class Choose:
    """Choose from the newest menu, and wait for an answer that says `until`."""

    option: str
    until: str


@dataclass(frozen=True, slots=True)
class Fill:
    """Fill in the form that is open, by the labels of its fields."""

    fields: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Become:
    """Go on as another member."""

    member: str


Step = Send | Press | Choose | Fill | Become


@dataclass(frozen=True, slots=True)
class Scene:
    """What is done before a picture is taken: of the form, if one is open, else of the answer."""

    name: str
    steps: tuple[Step, ...]


CIRCLE = {"prompt": "a large red circle on a blue background", "seed": "7"}
STAR = {"prompt": "a green star on a white background", "seed": "7"}
HEART = {"prompt": "a purple heart on a yellow background"}
SLOW = {"model": "dev", "steps": "50", "count": "4"}

SCENES = (
    # the first picture takes longer, for then the models are loaded
    Scene("result", (Send("generate", HEART, "Again"), Send("generate", CIRCLE, "Again"))),
    Scene("compare", (Press("Compare", "Go on with one of the pictures"),)),
    Scene(
        "repaint",
        (
            Press("Repaint", "Which part?"),
            Fill({"Which part?": "the red circle", "What shall be there?": "a yellow star"}),
        ),
    ),
    Scene("mask", (Press("Submit", "Paint it"), Press("Grow", "The mask is"))),
    Scene("pictures", (Send("generate", {**STAR, "count": "4"}, "Again"),)),
    Scene("picture", (Choose("Picture 3", "Vary subtly"),)),
    Scene(
        "sweep", (Send("generate", {**STAR, "model": "dev", "sweep": "steps 1 2 4 8"}, "Again"),)
    ),
    Scene("history", (Send("history", until="History"),)),
    Scene("help", (Send("help", until="What you can do here"),)),
    Scene("settings", (Send("settings panel", until="Settings of"),)),
    Scene(
        "queue",
        (
            Send("generate", {**STAR, **SLOW}, "Cancel"),
            Send("generate", {**CIRCLE, **SLOW}, "Cancel"),
            Become("guest"),
            Send("generate", {**HEART, "private": "True"}, "Cancel"),
            Become("you"),
            Send("queue", until="waiting"),
        ),
    ),
)


class NoPictures(Exception):
    """Nothing can be photographed here; the text says why."""


class Visitor:
    """Somebody at the page of the playground, who takes one step after the other."""

    def __init__(self, page: Page, address: str) -> None:
        self._page = page
        page.set_default_timeout(PATIENCE_MS)
        page.goto(address)
        page.add_style_tag(content=STYLE)
        self._settle()

    def take(self, step: Step) -> None:
        """Take a step, and wait for what comes of it."""
        match step:
            case Send(command, options, until):
                self._type(command, options)
                self._page.click("#send-message")
                self._await(until)
            case Press(label, until):
                self._page.get_by_role("button", name=label, exact=True).last.click()
                self._await(until)
            case Choose(option, until):
                self._page.locator(".select-trigger").last.click()
                self._page.locator(".select-option:visible").filter(has_text=option).click()
                self._await(until)
            case Fill(fields):
                for label, text in fields.items():
                    self._page.get_by_label(label).fill(text)
            case Become(member):
                self._page.get_by_label("Viewing as").select_option(label=member)
                self._settle()

    def photograph(self, width: int) -> Image.Image:
        """Return what is to be seen in a window of this width."""
        page = self._page
        page.set_viewport_size({"width": width, "height": HEIGHT})
        page.mouse.move(0, 0)  # or what lies under it looks chosen
        self._settle()
        if self._form.count():
            png = self._form.screenshot()
        else:
            png = page.screenshot(clip=self._answer.evaluate(FRAME), animations="disabled")
        return Image.open(io.BytesIO(png))

    @property
    def _form(self) -> Locator:
        return self._page.locator(".modal-dialog")

    @property
    def _answer(self) -> Locator:
        return self._page.locator(".channel-message").last

    def _type(self, command: str, options: Mapping[str, str]) -> None:
        page = self._page
        page.fill("#channel-composer-input", f"/{command}")
        page.locator(".command-entry strong").get_by_text(f"/{command}", exact=True).click()
        for name, value in options.items():
            typed = page.locator(f'.command-option-input[data-option="{name}"]')
            if not typed.count():
                page.click(".command-ghost")
                page.click(f'.command-suggestion[data-value="{name}"]')
            typed.fill(value)

    def _await(self, text: str) -> None:
        self._settle()
        self._answer.or_(self._form).get_by_text(text).first.wait_for()
        self._settle()

    def _settle(self) -> None:
        self._page.wait_for_function(DRAWN)


@contextmanager
def chromium() -> Iterator[Browser]:
    """Start the Chromium of this machine, or else the one that Playwright has installed."""
    try:
        from playwright.sync_api import sync_playwright
    except ModuleNotFoundError:
        raise NoPictures(
            "Playwright is missing: run pip install -e '.[playground,screenshots]' first."
        ) from None
    found = next(filter(None, map(shutil.which, BROWSERS)), None)
    with sync_playwright() as playwright:
        path = found or playwright.chromium.executable_path
        if not Path(path).exists():
            raise NoPictures(
                "There is no Chromium: install your system's, or run playwright install chromium."
            )
        with playwright.chromium.launch(executable_path=path) as browser:
            yield browser


@contextmanager
def playground() -> Iterator[str]:
    """Run the playground as a process of its own, and yield the address of its page."""
    command = [sys.executable, "-m", "bot", "playground", "--port", "0", "--no-browser"]
    with (
        # where no .env of somebody's bot changes what is seen
        tempfile.TemporaryDirectory(prefix="flux-screenshots-") as folder,
        subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, text=True) as process,
    ):
        try:
            assert process.stdout is not None
            words = process.stdout.readline().split()
            if not words:
                raise NoPictures("The playground did not start.")
            yield words[-1]
        finally:
            process.terminate()


def save(picture: Image.Image, path: Path) -> None:
    """Write a picture as WebP, and say how large it is."""
    picture.convert("RGB").save(path, "WEBP", quality=QUALITY, method=6)
    print(f"{path}: {picture.width}×{picture.height}, {path.stat().st_size / 1000:.1f} kB")


def main() -> int:
    """Photograph all scenes, and return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tools.screenshots", description=__doc__)
    parser.add_argument("folder", nargs="?", type=Path, default=FOLDER)
    folder: Path = parser.parse_args().folder
    folder.mkdir(parents=True, exist_ok=True)
    try:
        with chromium() as browser, playground() as address:
            # the page forbids scripts from outside, among them those that wait for a condition
            visitor = Visitor(browser.new_page(bypass_csp=True), address)
            for scene in SCENES:
                for step in scene.steps:
                    visitor.take(step)
                for device, width in WIDTHS.items():
                    save(visitor.photograph(width), folder / f"{scene.name}-{device}.webp")
    except NoPictures as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
