"""The manifest for Kubernetes, by the schemas of Kubernetes, and what it must hold.

The schema of RayCluster is no part of any package, so of that object only what is asked for here is
known to be right.
"""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from bot.config import Settings, load_settings

REPOSITORY = Path(__file__).parents[2]
OPERATORS_OWN = "ray.io/"

Object = dict[str, Any]


@cache
def objects() -> list[Object]:
    return list(yaml.safe_load_all((REPOSITORY / "deploy" / "kuberay.yaml").read_text()))


def the(kind: str) -> Object:
    (found,) = [each for each in objects() if each["kind"] == kind]
    return found


def pods() -> list[Object]:
    """Return what the head, with the bot beside it, and the workers are made from."""
    cluster = the("RayCluster")["spec"]
    (workers,) = cluster["workerGroupSpecs"]
    return [each["template"]["spec"] for each in (cluster["headGroupSpec"], workers)]


def container(name: str) -> Object:
    (found,) = [each for spec in pods() for each in spec["containers"] if each["name"] == name]
    return found


@pytest.mark.parametrize(
    "each",
    [each for each in objects() if not each["apiVersion"].startswith(OPERATORS_OWN)],
    ids=lambda each: f"{each['kind']} {each['metadata']['name']}",
)
def test_kubernetes_knows_each_field(each: Object) -> None:
    kubernetes_validate.validate(each, kubernetes_validate.latest_version(), strict=True)


@pytest.mark.parametrize("spec", pods(), ids=["head", "worker"])
def test_kubernetes_knows_each_field_of_the_pods(spec: Object) -> None:
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "pod"}, "spec": spec}
    kubernetes_validate.validate(pod, kubernetes_validate.latest_version(), strict=True)


@pytest.mark.parametrize("spec", pods(), ids=["head", "worker"])
def test_no_pod_runs_as_root_or_writes_but_to_its_volumes(spec: Object) -> None:
    assert spec["securityContext"]["runAsNonRoot"] is True
    assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    for container in spec["containers"]:
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
        mounted = {mount["mountPath"] for mount in container["volumeMounts"]}
        assert {"/tmp", "/var/lib/fluxbot", "/var/cache/huggingface"} <= mounted


def test_ray_is_that_of_the_constraints() -> None:
    pinned = re.search(r"^ray==(.+)$", (REPOSITORY / "constraints.txt").read_text(), re.MULTILINE)
    assert pinned is not None
    assert the("RayCluster")["spec"]["rayVersion"] == pinned[1]


def test_bot_and_cluster_are_one_image() -> None:
    images = {container["image"] for spec in pods() for container in spec["containers"]}
    assert images == {"fluxbot:ray"}


def test_there_may_be_as_many_workers_as_replicas() -> None:
    (workers,) = the("RayCluster")["spec"]["workerGroupSpecs"]
    settings = load_settings(the("ConfigMap")["data"], Path("/dev/null"))
    assert settings.executor == "ray"
    assert settings.ray_min_replicas == workers["minReplicas"]
    assert settings.ray_max_replicas == workers["maxReplicas"]
    assert container("ray-worker")["resources"]["limits"]["nvidia.com/gpu"] == "1"


def test_a_worker_has_a_limit_of_memory_and_room_for_a_model_in_the_bots_share_of_it() -> None:
    settings = load_settings(the("ConfigMap")["data"], Path("/dev/null"))
    assert settings.host_memory_gb is None  # three quarters of the pod's limit
    memory = container("ray-worker")["resources"]["limits"]["memory"]
    assert 0.75 * int(memory.removesuffix("Gi")) > 2 * 11.9


def test_bot_and_head_share_what_ray_needs_of_one_machine() -> None:
    assert pods()[0]["shareProcessNamespace"] is True
    shared = {"/tmp", "/dev/shm"}
    mounts = [
        {(mount["name"], mount["mountPath"]) for mount in container(name)["volumeMounts"]}
        for name in ("ray-head", "bot")
    ]
    assert shared <= {path for _, path in mounts[0] & mounts[1]}


def test_secrets_are_referred_to_and_only_by_the_bot() -> None:
    assert "Secret" not in [each["kind"] for each in objects()]
    references = {
        each["name"]: each["valueFrom"]["secretKeyRef"] for each in container("bot")["env"]
    }
    assert {name: each["name"] for name, each in references.items()} == {
        "DISCORD_TOKEN": "fluxbot-tokens",
        "HF_TOKEN": "fluxbot-tokens",
    }
    assert not [name for name in ("ray-head", "ray-worker") if "env" in container(name)]


@pytest.mark.parametrize("name", ["ray-head", "ray-worker"])
def test_ray_stays_until_the_bot_has_stopped(name: str) -> None:
    *_, seconds = container(name)["lifecycle"]["preStop"]["exec"]["command"]
    assert int(seconds) >= Settings().shutdown_grace_s + 10
    own = 30  # that Ray takes at most, to let its node go
    assert all(spec["terminationGracePeriodSeconds"] >= int(seconds) + own for spec in pods())


def test_what_is_not_of_the_cluster_reaches_the_metrics_alone() -> None:
    policy = the("NetworkPolicy")["spec"]
    itself, monitoring = policy["ingress"]
    assert policy["podSelector"] == {}
    assert itself == {"from": [{"podSelector": {}}]}
    (port,) = monitoring["ports"]
    assert str(port["port"]) == the("ConfigMap")["data"]["METRICS_PORT"]
    assert policy["policyTypes"] == ["Ingress", "Egress"]
