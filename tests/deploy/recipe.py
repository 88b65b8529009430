"""The Dockerfile as shell scripts that run in a folder, for machines without a container engine.

Each stage gets a folder of its own, `stages/NAME`. The link `image` points to that of the stage
that is being made, and absolute paths of the recipe are taken below it, so that a virtual
environment finds itself again in the stage that it is copied to. In place of the base image is this
machine with the Python that runs this; what would change it is left out: packages and users of the
system.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import dockerfile

OF_THE_SYSTEM = ("apt-get ", "groupadd ")
NOTHING: Mapping[str, str] = {}
ROOTED = re.compile(r"(?<![\w.}/-])/(?=(?:opt|src|var|wheels)\b)")

PROLOGUE = """\
set -eu
copy() {
    if [ -d "$1" ]; then mkdir -p "$2"; cp -a "$1/." "$2"; return; fi
    case "$2" in */|*/.) mkdir -p "$2" ;; *) mkdir -p "$(dirname "$2")" ;; esac
    cp -a "$1" "$2"
}
begin() {  # a stage, perhaps with what another one left
    mkdir -p "$ROOT/stages"
    if [ -n "$2" ]; then cp -al "$ROOT/stages/$2" "$ROOT/stages/$1"; fi
    mkdir -p "$ROOT/stages/$1"
    ln -sfn "stages/$1" "$ROOT/image"
}
"""


@dataclass
class Stage:
    """One `FROM` and what follows it."""

    name: str
    base: str
    steps: list[dockerfile.Command] = field(default_factory=list)


class Recipe:
    """A Dockerfile, read for one set of build arguments."""

    def __init__(self, path: Path, arguments: Mapping[str, str]) -> None:
        self._arguments = arguments
        self._defaults: dict[str, str] = {}
        self.stages: dict[str, Stage] = {}
        self.left_out: list[str] = []
        for command in dockerfile.parse_file(str(path)):
            if command.cmd == "FROM":
                base, _, name = command.value
                stage = Stage(name, self._with_arguments(base))
                self.stages[name] = stage
            elif not self.stages:
                name, _, default = command.value[0].partition("=")
                self._defaults[name] = default
            else:
                stage.steps.append(command)
        self.final = stage

    def needed(self) -> list[Stage]:
        """Return the stages that the last one is made from, in their order."""
        wanted, found = [self.final.name], set[str]()
        while wanted:
            name = wanted.pop()
            if name in self.stages and name not in found:
                found.add(name)
                wanted += _sources(self.stages[name])
        return [stage for stage in self.stages.values() if stage.name in found]

    def build_script(self) -> str:
        """Return the steps of all stages that are needed, for `sh`, with ROOT and CONTEXT set."""
        lines = [PROLOGUE]
        for stage in self.needed():
            parent = stage.base if stage.base in self.stages else ""
            lines += [f"\n# stage {stage.name}", f"begin {stage.name} '{parent}'", "(:"]
            lines += surroundings(self._ancestors(stage))
            lines += [line for step in stage.steps for line in self._shell(step)]
            lines.append(")")
        return "\n".join(lines) + "\n"

    def entry_script(self) -> str:
        """Return what runs its arguments as the image would run a command, with ROOT set."""
        lines = ["set -eu", *surroundings([*self._ancestors(self.final), self.final])]
        return "\n".join([*lines, 'exec "$@"']) + "\n"

    def value(self, command: str) -> tuple[str, ...]:
        """Return what the last stage says to a command, as ENTRYPOINT."""
        (value,) = [step.value for step in self.final.steps if step.cmd == command]
        return tuple(value)

    def _ancestors(self, stage: Stage) -> list[Stage]:
        """Return the stages that one begins with, the first one first."""
        if stage.base not in self.stages:
            return []
        parent = self.stages[stage.base]
        return [*self._ancestors(parent), parent]

    def _shell(self, step: dockerfile.Command) -> list[str]:
        if step.cmd == "ARG":
            name, _, default = step.value[0].partition("=")
            value = self._arguments.get(name, default or self._defaults.get(name, ""))
            return [f"export {name}={shlex.quote(value)}"]
        if step.cmd == "ENV":
            return env(step)
        if step.cmd == "WORKDIR":
            return [f"mkdir -p {rooted(step.value[0])}", f"cd {rooted(step.value[0])}"]
        if step.cmd == "VOLUME":
            return [f"mkdir -p {rooted(folder)}" for folder in step.value]
        if step.cmd == "COPY":
            return _copies(step)
        if step.cmd == "RUN":
            return self._run(step)
        return []  # LABEL, USER and the like: what they say is asked for by `value`

    def _run(self, step: dockerfile.Command) -> list[str]:
        (command,) = step.value
        if command.startswith(OF_THE_SYSTEM):
            self.left_out.append(command)
            return [f"echo {shlex.quote('left out: ' + command)}"]
        mounts = [_mount(flag) for flag in step.flags]
        before = [
            f'ln -sfn "$ROOT/stages/{mount["from"]}{mount["source"]}" {rooted(mount["target"])}'
            for mount in mounts
        ]
        after = [f"rm {rooted(mount['target'])}" for mount in mounts]
        return [*before, rooted(command), *after]

    def _with_arguments(self, text: str) -> str:
        values = self._defaults | dict(self._arguments)
        return re.sub(r"\$\{(\w+)\}", lambda found: values[found[1]], text)


class Image:
    """What a recipe made in a folder."""

    def __init__(self, recipe: Recipe, root: Path) -> None:
        self.recipe = recipe
        self.root = root

    def build(self, context: Path, environment: Mapping[str, str] = NOTHING) -> str:
        """Run the steps, then forget all stages but the last, and return what they printed."""
        (self.root / "build.sh").write_text(self.recipe.build_script())
        (self.root / "enter.sh").write_text(self.recipe.entry_script())
        (self.root / "tmp").mkdir()
        self._base_python()
        done = self._sh("build.sh", [], {"CONTEXT": str(context), **environment})
        if done.returncode != 0:
            raise AssertionError(f"the recipe fails:\n{done.stdout}{done.stderr}")
        for stage in self.recipe.needed()[:-1]:
            shutil.rmtree(self.root / "stages" / stage.name)
        return done.stdout

    def run(
        self, *command: str, environment: Mapping[str, str] = NOTHING
    ) -> subprocess.CompletedProcess[str]:
        """Run a command as in a container of this image."""
        return self._sh("enter.sh", command, environment)

    def files(self) -> dict[str, int]:
        """Return when each file of the installation was last changed, which is none of the data."""
        installation = self.root / "image" / "opt"
        return {str(path): path.lstat().st_mtime_ns for path in installation.rglob("*")}

    def _sh(
        self, script: str, arguments: Sequence[str], environment: Mapping[str, str]
    ) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["sh", str(self.root / script), *arguments],
            cwd=self.root,
            env=self._clean() | dict(environment),
            capture_output=True,
            text=True,
            timeout=1800,
        )

    def _clean(self) -> dict[str, str]:
        """Return what a container would know, and how this machine reaches its package index."""
        kept = ("PIP_", "SSL_", "REQUESTS_", "HOME", "LANG")
        inherited = {name: os.environ[name] for name in os.environ if name.startswith(kept)}
        return inherited | {
            "PATH": f"{self.root}/base:/usr/local/bin:/usr/bin:/bin",
            "ROOT": str(self.root),
            "TMPDIR": str(self.root / "tmp"),
        }

    def _base_python(self) -> None:
        # not a link, which would be looked for its standard library
        python = self.root / "base" / "python"
        python.parent.mkdir()
        base: str = sys._base_executable  # type: ignore[attr-defined]
        python.write_text(f'#!/bin/sh\nexec {shlex.quote(base)} "$@"\n')
        python.chmod(0o755)


def build_context(repository: Path, folder: Path) -> Path:
    """Copy what .dockerignore lets through, and return the folder."""
    lines = (repository / ".dockerignore").read_text().split("\n")
    patterns = [line for line in lines if line and not line.startswith("#")]
    assert patterns[0] == "*"
    shunned = [line.removeprefix("**/") for line in patterns if line.startswith("**/")]
    folder.mkdir()
    for name in [line[1:] for line in patterns if line.startswith("!")]:
        if (repository / name).is_dir():
            ignore = shutil.ignore_patterns(*shunned)
            shutil.copytree(repository / name, folder / name, ignore=ignore)
        else:
            shutil.copy(repository / name, folder / name)
    return folder


def surroundings(stages: list[Stage]) -> list[str]:
    """Return the variables and the folder that stages leave to what comes after them."""
    steps = [step for stage in stages for step in stage.steps]
    variables = [line for step in steps if step.cmd == "ENV" for line in env(step)]
    folders = [f"cd {rooted(step.value[0])}" for step in steps if step.cmd == "WORKDIR"]
    return [*variables, *folders[-1:]]


def env(step: dockerfile.Command) -> list[str]:
    """Return the exports of an ENV."""
    pairs = zip(step.value[::2], step.value[1::2], strict=True)
    return [f'export {name}="{ROOTED.sub("$ROOT/image/", value)}"' for name, value in pairs]


def rooted(text: str) -> str:
    """Return a command or path with the absolute paths of the image below its folder."""
    return ROOTED.sub('"$ROOT"/image/', text)


def _sources(stage: Stage) -> list[str]:
    """Return the names of the stages that one takes something from."""
    flags = [flag for step in stage.steps for flag in step.flags]
    found = [re.search(r"\bfrom=([\w-]+)", flag) for flag in flags]
    return [stage.base, *(match[1] for match in found if match)]


def _copies(step: dockerfile.Command) -> list[str]:
    *sources, target = step.value
    flags = [flag.removeprefix("--from=") for flag in step.flags]
    where = f'"$ROOT/stages/{flags[0]}"' if flags else '"$CONTEXT"/'
    return [f"copy {where}{source} {rooted(target)}" for source in sources]


def _mount(flag: str) -> dict[str, str]:
    """Return the parts of a `--mount=type=bind,...`."""
    parts = dict(part.split("=", 1) for part in flag.removeprefix("--mount=").split(","))
    assert parts["type"] == "bind"
    return parts
