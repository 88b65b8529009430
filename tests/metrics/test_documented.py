"""Dashboard, alerts and documentation speak of the metrics that there are, and of all of them."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
import yaml
from prometheus_client import CollectorRegistry

from bot.application import application, worker_options
from bot.config import Settings
from bot.inference.executor import LocalExecutor

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
SUFFIXES = {"counter": ("_total",), "gauge": ("",), "histogram": ("_bucket", "_sum", "_count")}
NAME = r"\b(?:fluxbot|process)_\w+"


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def registry(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[CollectorRegistry]:
    settings = Settings(flux_models="tiny", data_dir=tmp_path_factory.mktemp("data"))
    # it is never started: what is measured of workers is there all the same
    async with application(settings, LocalExecutor([worker_options(settings)])) as app:
        yield app.metrics.registry


def series(registry: CollectorRegistry) -> set[str]:
    """Return the names by which Prometheus knows what is measured."""
    return {
        family.name + suffix for family in registry.collect() for suffix in SUFFIXES[family.type]
    }


def dashboard() -> dict[str, Any]:
    return json.loads((DEPLOY / "grafana" / "dashboard.json").read_text())


def targets() -> Iterator[str]:
    for panel in dashboard()["panels"]:
        for target in panel.get("targets", []):
            yield target["expr"]


def alerts() -> list[dict[str, Any]]:
    groups = yaml.safe_load((DEPLOY / "prometheus" / "alerts.yml").read_text())["groups"]
    return [rule for group in groups for rule in group["rules"]]


async def test_the_dashboard_shows_every_metric_of_the_bot_and_no_other(
    registry: CollectorRegistry,
) -> None:
    shown = {name for expression in targets() for name in re.findall(NAME, expression)}
    assert shown <= series(registry)
    bases = {re.sub("_(bucket|sum|count)$", "", name) for name in shown}
    known = {re.sub("_(bucket|sum|count)$", "", name) for name in series(registry)}
    assert {name for name in known if name.startswith("fluxbot_")} <= bases


async def test_each_alert_is_about_metrics_that_there_are(registry: CollectorRegistry) -> None:
    known = series(registry) | {"up"}
    for rule in alerts():
        names = re.findall(rf"{NAME}|\bup\b", rule["expr"])
        assert names, rule["alert"]
        assert set(names) <= known, rule["alert"]
        assert set(rule["annotations"]) == {"summary", "description"}


async def test_the_labels_of_dashboard_and_alerts_are_those_of_the_documentation() -> None:
    known = {name for labels in documented().values() for name in labels} | {"le", "job"}
    expressions = [*targets(), *(rule["expr"] for rule in alerts())]
    used = {
        name
        for expression in expressions
        for group in re.findall(r"(?:by|on) \(([\w, ]+)\)", expression)
        for name in group.split(", ")
    }
    used |= {name for each in expressions for name in re.findall(r"[{,]\s*(\w+)=", each)}
    assert used <= known


async def test_each_metric_is_documented_with_its_labels(registry: CollectorRegistry) -> None:
    ours = [each for each in registry.collect() if each.name.startswith("fluxbot_")]
    names = {each.name + ("_total" if each.type == "counter" else "") for each in ours}
    assert set(documented()) == names
    for family in ours:
        name = family.name + ("_total" if family.type == "counter" else "")
        for sample in family.samples:
            assert set(sample.labels) - {"le"} == set(documented()[name]), name


def documented() -> dict[str, list[str]]:
    """Return the metrics of the documentation's table, each with its labels."""
    text = (ROOT / "docs" / "metrics.md").read_text()
    rows = re.findall(r"^\| `(fluxbot_\w+)` \| (.*?) \|", text, re.MULTILINE)
    return {name: re.findall(r"`(\w+)`", labels) for name, labels in rows}


def test_prometheus_reads_the_rules_and_grafana_the_dashboard() -> None:
    config = yaml.safe_load((DEPLOY / "prometheus" / "prometheus.yml").read_text())
    assert all((DEPLOY / "prometheus" / each).is_file() for each in config["rule_files"])
    (scrape,) = config["scrape_configs"]
    jobs = {job for each in targets() for job in re.findall('job="([^"]+)"', each)}
    jobs |= {job for each in alerts() for job in re.findall('job="([^"]+)"', each["expr"])}
    assert jobs == {scrape["job_name"]}
    provisioning = DEPLOY / "grafana" / "provisioning"
    sources = yaml.safe_load((provisioning / "datasources" / "prometheus.yml").read_text())
    (source,) = sources["datasources"]
    panels = [each for each in dashboard()["panels"] if each["type"] != "row"]
    assert {each["datasource"]["uid"] for each in panels} == {source["uid"]}
    assert yaml.safe_load((provisioning / "dashboards" / "fluxbot.yml").read_text())["providers"]
