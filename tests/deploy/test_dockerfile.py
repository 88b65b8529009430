"""The Dockerfile: hadolint finds nothing, and the image runs as nobody, with no secrets in it."""

from __future__ import annotations

import re
import subprocess
import sysconfig
from pathlib import Path

import pytest

from .recipe import Recipe

REPOSITORY = Path(__file__).parents[2]
DOCKERFILE = REPOSITORY / "Dockerfile"
HADOLINT = Path(sysconfig.get_path("scripts")) / "hadolint"


@pytest.fixture(params=["cuda", "cpu"])
def recipe(request: pytest.FixtureRequest) -> Recipe:
    return Recipe(DOCKERFILE, {"VARIANT": request.param})


def test_hadolint_finds_nothing() -> None:
    done = subprocess.run(
        [HADOLINT, "--no-color", DOCKERFILE], capture_output=True, text=True, timeout=60
    )
    assert (done.returncode, done.stdout) == (0, "")


def test_hadolint_would_find_something(tmp_path: Path) -> None:
    (tmp_path / "Dockerfile").write_text("FROM python\nUSER root\n")
    done = subprocess.run([HADOLINT, tmp_path / "Dockerfile"], capture_output=True, timeout=60)
    assert done.returncode == 1


def test_it_does_not_run_as_root(recipe: Recipe) -> None:
    assert recipe.value("USER") == ("10001:10001",)


def test_the_last_stage_takes_the_environment_and_the_wheel_and_no_source(recipe: Recipe) -> None:
    copies = [step.value for step in recipe.final.steps if step.cmd == "COPY"]
    assert copies == [("/opt/venv", "/opt/venv")]


def test_no_variable_of_the_image_is_a_secret(recipe: Recipe) -> None:
    names = [
        name
        for stage in recipe.stages.values()
        for step in stage.steps
        if step.cmd in ("ARG", "ENV")
        for name in step.value[::2]
    ]
    assert not [name for name in names if re.search("TOKEN|SECRET|PASSWORD|KEY", name)]


def test_the_python_of_the_image_is_that_of_the_constraints(recipe: Recipe) -> None:
    tested = (REPOSITORY / "constraints.txt").read_text().split("\n")[0]
    minor = re.search(r"on Python (3\.\d+)", tested)
    assert minor is not None
    bases = {stage.base for stage in recipe.stages.values() if stage.base not in recipe.stages}
    assert len(bases) == 1
    assert bases.pop().startswith(f"python:{minor[1]}.")


def test_the_version_on_the_label_is_that_of_the_bot(recipe: Recipe) -> None:
    from bot import __version__

    assert ("VERSION=" + __version__,) in [s.value for s in recipe.final.steps if s.cmd == "ARG"]
