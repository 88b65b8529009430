"""The Dockerfile's steps, run as a script in a new folder, make an installation that works.

Without `--long` the packages are those of this environment, lent to the new one, so that minutes of
downloading are left out: the steps and their order, the build context and the bot's own package are
what is tried. With it all are installed anew, of the versions that the constraints name.

No test here has seen a container: packages and users of the system, the base image, and the
kernel's part of the read-only root are beyond it.
"""

from __future__ import annotations

import sysconfig
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread

import pytest

from bot import __version__

from .recipe import Image, Recipe, build_context

REPOSITORY = Path(__file__).parents[2]
DOCKERFILE = REPOSITORY / "Dockerfile"

pytestmark = pytest.mark.timeout(1800)  # with --long


@pytest.fixture(scope="module")
def lent(request: pytest.FixtureRequest) -> Mapping[str, str]:
    """The packages of this environment, for the new one; none with --long."""
    if request.config.getoption("--long"):
        return {}
    return {"PYTHONPATH": sysconfig.get_path("purelib")}


@pytest.fixture(scope="module")
def context(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_context(REPOSITORY, tmp_path_factory.mktemp("context") / "context")


@pytest.fixture(scope="module")
def image(
    context: Path, lent: Mapping[str, str], tmp_path_factory: pytest.TempPathFactory
) -> Image:
    # where this machine has the CPU's PyTorch, if its index is another than PyTorch's own
    index = {"TORCH_INDEX": "https://pypi.org/simple"}
    recipe = Recipe(DOCKERFILE, {"VARIANT": "cpu", **index})
    image = Image(recipe, tmp_path_factory.mktemp("image"))
    image.build(context, lent)
    return image


@contextmanager
def health(status: int) -> Iterator[int]:
    """Answer on a port as the bot's /healthz does."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status if self.path == "/healthz" else 404)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield server.server_port
        server.shutdown()


def test_the_context_holds_what_the_image_is_made_of_and_nothing_else(context: Path) -> None:
    assert sorted(path.name for path in context.iterdir()) == [
        "LICENSE",
        "README.md",
        "bot",
        "constraints.txt",
        "pyproject.toml",
    ]
    assert not list(context.rglob("__pycache__"))


def test_of_the_cpu_variant_nothing_is_left_out_but_the_user(image: Image) -> None:
    (command,) = image.recipe.left_out
    assert command.startswith("groupadd ")


def test_the_cuda_variant_has_a_compiler_for_its_kernels() -> None:
    recipe = Recipe(DOCKERFILE, {})
    recipe.build_script()
    compiler, _ = recipe.left_out
    assert "install --yes --no-install-recommends gcc libc6-dev" in compiler


def test_the_entry_point_is_the_installed_bot(image: Image, lent: Mapping[str, str]) -> None:
    done = image.run(*image.recipe.value("ENTRYPOINT"), "--version", environment=lent)
    assert (done.stdout, done.stderr) == (f"{__version__}\n", "")
    where = image.run("python", "-c", "import bot; print(bot.__file__)", environment=lent)
    assert Path(where.stdout).is_relative_to(image.root / "image" / "opt" / "venv")


def test_it_paints_without_writing_to_the_installation(
    image: Image, lent: Mapping[str, str]
) -> None:
    before = image.files()
    entry = image.recipe.value("ENTRYPOINT")
    command = ("playground", "--once", "/generate prompt:a red circle")
    done = image.run(*entry, *command, environment=lent)
    assert done.returncode == 0, done.stderr
    assert "a red circle" in done.stdout
    assert image.files() == before


@pytest.mark.parametrize(("status", "healthy"), [(200, True), (503, False)])
def test_the_health_check_asks_the_bot(
    status: int, healthy: bool, image: Image, lent: Mapping[str, str]
) -> None:
    _, *check = image.recipe.value("HEALTHCHECK")
    with health(status) as port:
        script = ["env", f"METRICS_PORT={port}", *check]
        done = image.run(*script, environment=lent)
    assert (done.returncode == 0) is healthy


def test_it_is_not_healthy_if_nobody_answers(image: Image, lent: Mapping[str, str]) -> None:
    with health(200) as port:
        pass
    _, *check = image.recipe.value("HEALTHCHECK")
    assert image.run("env", f"METRICS_PORT={port}", *check, environment=lent).returncode == 1
