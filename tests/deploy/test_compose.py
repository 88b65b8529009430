"""compose.yaml as docker compose itself understands it, alone and with what goes beside it."""

from __future__ import annotations

import json
import shutil
import subprocess
import sysconfig
from pathlib import Path
from typing import Any

import pytest

from bot.config import Settings

REPOSITORY = Path(__file__).parents[2]
DOCKER_COMPOSE = Path(sysconfig.get_path("scripts")) / "docker-compose"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkout with the settings as they come, so that nobody's own are read."""
    folder = tmp_path_factory.mktemp("compose")
    for name in ("compose.yaml", "Dockerfile"):
        shutil.copy(REPOSITORY / name, folder)
    shutil.copytree(REPOSITORY / "deploy", folder / "deploy")
    shutil.copy(REPOSITORY / ".env.example", folder / ".env")
    return folder


def config(folder: Path, *options: str) -> dict[str, Any]:
    """Return what docker compose makes of the files, with all defaults and references filled in."""
    done = subprocess.run(
        [DOCKER_COMPOSE, *options, "config", "--format", "json"],
        cwd=folder,
        env={"PATH": "/usr/bin:/bin", "HOME": str(folder)},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (done.returncode, done.stderr) == (0, "")
    found: dict[str, Any] = json.loads(done.stdout)
    return found["services"]


CPU = ("--file", "compose.yaml", "--file", "deploy/compose.cpu.yaml")
MONITORING = ("--profile", "monitoring")


def test_without_a_profile_it_is_the_bot_alone_on_all_gpus(folder: Path) -> None:
    services = config(folder)
    assert set(services) == {"bot"}
    (device,) = services["bot"]["deploy"]["resources"]["reservations"]["devices"]
    assert (device["driver"], device["capabilities"], device["count"]) == ("nvidia", ["gpu"], -1)
    assert services["bot"]["build"]["args"] == {"VARIANT": "cuda"}


def test_for_the_cpu_neither_a_gpu_nor_cuda_is_asked_for(folder: Path) -> None:
    bot = config(folder, *CPU)["bot"]
    assert "deploy" not in bot
    assert bot["build"]["args"] == {"VARIANT": "cpu"}
    assert bot["image"] == "fluxbot:cpu"


def test_the_profile_adds_prometheus_and_grafana_for_this_machine_alone(folder: Path) -> None:
    services = config(folder, *MONITORING)
    assert set(services) == {"bot", "prometheus", "grafana"}
    ports = [port for service in services.values() for port in service.get("ports", [])]
    assert {port["host_ip"] for port in ports} == {"127.0.0.1"}


def test_what_is_mounted_from_the_checkout_is_there_and_read_only(folder: Path) -> None:
    mounts = [
        mount
        for service in config(folder, *MONITORING).values()
        for mount in service["volumes"]
        if mount["type"] == "bind"
    ]
    assert mounts
    for mount in mounts:
        assert mount["read_only"]
        assert Path(mount["source"]).exists(), mount["source"]


def test_each_container_is_hardened(folder: Path) -> None:
    for name, service in config(folder, *MONITORING).items():
        assert service["read_only"] is True, name
        assert service["cap_drop"] == ["ALL"], name
        assert service["security_opt"] == ["no-new-privileges:true"], name


def test_the_bot_has_volumes_for_data_store_and_weights(folder: Path) -> None:
    bot = config(folder)["bot"]
    volumes = {mount["source"]: mount["target"] for mount in bot["volumes"]}
    assert volumes == {
        "data": "/var/lib/fluxbot",
        "store": "/var/lib/fluxbot/weights",
        "weights": "/var/cache/huggingface",
    }
    assert bot["environment"]["DATA_DIR"] == volumes["data"]
    assert bot["environment"]["HF_HOME"] == volumes["weights"]


def test_a_stop_waits_longer_than_the_bot_does(folder: Path) -> None:
    grace = config(folder)["bot"]["stop_grace_period"]
    assert int(grace.removesuffix("s")) >= Settings().shutdown_grace_s + 10
