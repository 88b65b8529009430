"""Which room may import what: the plan of the house, read from the imports."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

BOT = Path(__file__).parents[1] / "bot"
MODULES = sorted(BOT.rglob("*.py"))

MODEL_LIBRARIES = {"torch", "diffusers", "optimum", "transformers", "accelerate"}
MODEL_ROOMS = {
    "annotators",
    "benchmark",
    "checkup",
    "classifier",
    "comparison",
    "conditions",
    "devices",
    "engine",
    "int8",
    "int8_blocks",
    "int8_products",
    "int8_rows",
    "memory",
    "offload",
    "parts",
    "pictures",
    "pipelines",
    "prepare",
    "quantization",
    "random_weights",
    "sampling",
    "segmentation",
    "store",
    "watch",
}


RAY_ROOMS = {"cluster", "replica", "serve"}


def imports(path: Path) -> set[str]:
    """Return the dotted names of all modules that a file imports, wherever in it."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def roots(path: Path) -> set[str]:
    return {name.partition(".")[0] for name in imports(path)}


def label(path: Path) -> str:
    return str(path.relative_to(BOT))


@pytest.mark.parametrize("path", [p for p in MODULES if p.parent.name == "inference"], ids=label)
def test_inference_knows_neither_discord_nor_storage_nor_cogs(path: Path) -> None:
    assert "discord" not in roots(path)
    known = {"bot.errors", "bot.i18n", "bot.inference", "bot.units", "bot.logs"}
    ours = {".".join(n.split(".")[:2]) for n in imports(path) if n.startswith("bot.")}
    assert ours <= known


@pytest.mark.parametrize("path", MODULES, ids=label)
def test_model_libraries_stay_in_their_rooms(path: Path) -> None:
    if path.parent.name == "inference" and path.stem in MODEL_ROOMS:
        return
    assert not roots(path) & MODEL_LIBRARIES


@pytest.mark.parametrize("path", MODULES, ids=label)
def test_ray_stays_in_its_room(path: Path) -> None:
    if path.parent.name == "inference" and path.stem in RAY_ROOMS:
        return
    assert "ray" not in roots(path)


@pytest.mark.parametrize("path", MODULES, ids=label)
def test_only_the_playground_knows_the_simulated_discord(path: Path) -> None:
    assert path.parent.name == "playground" or "simcord" not in roots(path)


@pytest.mark.parametrize("path", MODULES, ids=label)
def test_modules_stay_small(path: Path) -> None:
    assert len(path.read_text().splitlines()) <= 400


@pytest.mark.parametrize(
    "module",
    [
        "bot.application",
        "bot.cogs.generate",
        "bot.doctor",
        "bot.inference.worker",
        "bot.serving",
        "bot.__main__",
    ],
)
def test_importing_the_bot_loads_no_torch(module: str) -> None:
    program = (
        f"import sys, {module}\n"
        "assert not {'torch', 'diffusers', 'transformers', 'ray'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
