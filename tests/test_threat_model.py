"""What docs/threat-model.md says of the program: the tests that it names are there, its rules hold.

These are read from the source: who imports what, how SQL is put together, how models are loaded.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "threat-model.md"
MODULES = sorted((ROOT / "bot").rglob("*.py"))

OWN_PROCESSES = {"protocol.py", "replica.py"}
"""Which unpickle what comes from a worker, or from a replica."""

DOWNLOADS = {"downloads.py", "hub.py", "hub_files.py", "repositories.py", "prepare.py"}
"""Which talk to the Hugging Face hub, beside the model libraries."""

SQL = re.compile(r"\b(?:SELECT|INSERT|UPDATE|DELETE|PRAGMA)\b")
PARTS_OF_SQL = {
    "where",
    "condition",
    "seen",
    "owner",
    "table",
    "change",
    "here",
    "script",
    "number",
}
"""Variables that hold SQL, or a name in it, and never what anybody has typed."""


@cache
def nodes(path: Path) -> list[ast.AST]:
    """Return all that a module is made of."""
    return list(ast.walk(ast.parse(path.read_text(encoding="utf-8"))))


def imported(path: Path) -> set[str]:
    """Return the packages that a module imports, wherever in it."""
    names = set()
    for node in nodes(path):
        if isinstance(node, ast.Import):
            names |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module.partition(".")[0])
    return names


def calls(path: Path) -> Iterator[tuple[str, ast.Call]]:
    """Yield the calls in a module, with the last name of what is called."""
    for node in nodes(path):
        if isinstance(node, ast.Call):
            called = node.func
            yield getattr(called, "attr", getattr(called, "id", "")), node


def test_each_test_that_the_page_names_is_there() -> None:
    named = set(re.findall(r"`(test_\w+)`", PAGE.read_text(encoding="utf-8")))
    assert len(named) > 30
    source = "".join(each.read_text(encoding="utf-8") for each in ROOT.glob("tests/**/*.py"))
    there = set(re.findall(r"def (test_\w+)\(", source))
    assert named <= there


def test_each_file_that_the_page_names_is_there() -> None:
    text = PAGE.read_text(encoding="utf-8")
    for path in re.findall(r"`((?:bot|deploy|tests)/[\w./-]+)`", text):
        assert (ROOT / path).exists(), path
    for path in re.findall(r"\]\(([\w.-]+\.md)", text):
        assert (PAGE.parent / path).exists(), path


def test_the_page_is_short_enough_to_be_read() -> None:
    assert len(PAGE.read_text(encoding="utf-8").splitlines()) <= 250


def test_nothing_that_can_be_code_is_read_from_a_file() -> None:
    risky = {("torch", "load"), ("np", "load"), ("numpy", "load"), ("yaml", "load")}
    for path in MODULES:
        pickles = {"pickle", "cloudpickle", "dill", "joblib", "marshal", "shelve"} & imported(path)
        assert not pickles or path.name in OWN_PROCESSES, path
        for name, call in calls(path):
            owner = getattr(getattr(call.func, "value", None), "id", "")
            assert (owner, name) not in risky, path
            assert not (isinstance(call.func, ast.Name) and name in ("eval", "exec")), path


def test_models_come_from_safetensors_and_bring_no_code() -> None:
    for path in MODULES:
        source = path.read_text(encoding="utf-8")
        assert "trust_remote_code=True" not in source, path
        auto = re.search(r"\bAuto(?:Model|Tokenizer|ImageProcessor|Processor|Config)", source)
        assert not auto or "trust_remote_code=False" in source, path
        for name, call in calls(path):
            options = {each.arg: ast.unparse(each.value) for each in call.keywords}
            if name.endswith("from_pretrained") and "torch_dtype" in options:
                assert options.get("use_safetensors") == "True", path


def test_no_address_is_opened_but_discords_and_the_hubs() -> None:
    clients = {"requests", "httpx", "httpx2", "urllib", "urllib3", "http", "ftplib"}
    for path in MODULES:
        assert not clients & imported(path), path
        names = {name for name, _ in calls(path)}
        assert not names & {"ClientSession", "urlopen", "urlretrieve"}, path
        hub = names & {"get_session", "hf_hub_download", "snapshot_download"}
        assert not hub or path.name in DOWNLOADS, path


def test_sql_holds_no_values() -> None:
    for path in MODULES:
        for node in nodes(path):
            if isinstance(node, ast.JoinedStr):
                text = "".join(each.value for each in node.values if isinstance(each, ast.Constant))
                put_in = [
                    each.value for each in node.values if isinstance(each, ast.FormattedValue)
                ]
                if SQL.search(text):
                    assert all(map(_is_sql, put_in)), f"{path}: {ast.unparse(node)}"


def _is_sql(node: ast.expr) -> bool:
    name = node.id if isinstance(node, ast.Name) else ""
    return name.isupper() or name in PARTS_OF_SQL


def test_no_shell_is_asked() -> None:
    for path in MODULES:
        names = {name for name, _ in calls(path)}
        assert not names & {"system", "popen", "create_subprocess_shell"}, path
        assert "shell=True" not in path.read_text(encoding="utf-8"), path
