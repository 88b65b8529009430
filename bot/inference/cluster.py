"""A Ray cluster and the replicas on it: all that blocks, to be called in a thread."""

from __future__ import annotations

import contextlib
import logging
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

import ray
from ray import serve
from ray._private import ray_constants, services
from ray.actor import ActorHandle
from ray.serve.config import AutoscalingConfig, RequestRouterConfig
from ray.serve.handle import DeploymentHandle
from ray.serve.schema import ApplicationStatus, LoggingConfig
from ray.util import list_named_actors

from bot.errors import ConfigurationError, RayUnavailable, WorkerDied
from bot.inference.protocol import WorkerOptions
from bot.inference.replica import Build, Replica

_log = logging.getLogger(__name__)

APPLICATION = "flux"

_SERVE = "serve"
"""The namespace of Serve's actors."""
_OBJECTS = 512 * 1024**2
"""Bytes of shared memory that a local Ray has for requests and results on their way."""
_PATIENCE = 10.0
"""Seconds that a cluster has to answer."""
_HEALTH = 2.0
"""Seconds between two looks of Serve at whether a replica is well."""
_LOOK_BACK = 15.0
"""Seconds of which Serve takes the mean before it starts or ends replicas."""
_TRY_AGAIN = 0.01
"""Seconds between two looks at whether a replica is free, of a run that waits for one. Serve's own
half a second would be lost at each job."""
_LONGEST_RUN = 1800.0
"""Seconds that a replica which is not needed any more has to end its run."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Scaling:
    """How few and how many replicas there may be, None for as many as the cluster has room for.

    One more is started when jobs have waited for one for `up_after` seconds, and one is ended when
    it was not needed for `down_after`.
    """

    least: int = 1
    most: int | None = None
    up_after: float = 10.0
    down_after: float = 300.0


class Cluster:
    """A Ray cluster: the one at an address, or one that is started here and ends with the bot."""

    def __init__(self, address: str | None) -> None:
        self._address = address
        self._handle: DeploymentHandle[Replica] | None = None

    def join(self) -> None:
        """Connect to the cluster, or start it; raise RayUnavailable where that cannot be."""
        # what goes wrong arrives as an error, and the rest is in Ray's own files
        for name in ("ray", "ray.serve"):
            logging.getLogger(name).setLevel(logging.ERROR)
        try:
            if self._address is None:
                _start()
            else:
                _knock(self._address)
                ray.init(self._address, configure_logging=False, log_to_driver=False)
        except Exception as error:  # of many types: it may be the address, the network, the version
            raise self._unavailable(error) from error

    def deploy(
        self, options: WorkerOptions, scaling: Scaling, patience: float | None, build: Build
    ) -> DeploymentHandle[Replica]:
        """Ask for replicas, without waiting for them; raise ConfigurationError without a GPU."""
        on_gpu = options.device != "cpu"
        resource = "GPU" if on_gpu else "CPU"
        there = int(ray.cluster_resources().get(resource, 0))
        if there == 0 and (self._address is None or scaling.most is None):
            raise ConfigurationError(
                "DEVICE", f"is {options.device}, but Ray finds no {resource} here", "cpu"
            )
        most = max(scaling.least, scaling.most or there)
        logs = LoggingConfig(log_level="WARNING", enable_access_log=False)
        serve.start(proxy_location="Disabled", logging_config=logs)
        deployment = serve.deployment(
            Replica,
            ray_actor_options={"num_cpus": 1, "num_gpus": 1 if on_gpu else 0},
            max_ongoing_requests=1,
            autoscaling_config=AutoscalingConfig(
                min_replicas=scaling.least,
                max_replicas=most,
                # while jobs wait, the bot keeps one run more here than there are replicas, and so
                # asks for one replica more
                target_ongoing_requests=1,
                upscale_delay_s=scaling.up_after,
                downscale_delay_s=scaling.down_after,
                look_back_period_s=_LOOK_BACK,
            ),
            request_router_config=RequestRouterConfig(
                initial_backoff_s=_TRY_AGAIN, max_backoff_s=_TRY_AGAIN
            ),
            health_check_period_s=_HEALTH,
            graceful_shutdown_wait_loop_s=0.1,
            graceful_shutdown_timeout_s=_LONGEST_RUN,
            logging_config=logs,
        )
        # the GPU that Ray has given to a replica is the only one that it sees
        own = replace(
            options, device="cuda" if on_gpu else "cpu", host_share=_most_on_a_node(resource, most)
        )
        application = deployment.bind(own, patience, build)
        target = serve.RunTarget(target=application, name=APPLICATION, route_prefix=None)
        (self._handle,) = serve.run_many([target], wait_for_applications_running=False)
        return self._handle

    def running(self) -> int:
        """Return how many replicas run; raise WorkerDied if none can be started."""
        state = serve.status().applications.get(APPLICATION)
        if state is None:
            return 0
        if state.status == ApplicationStatus.DEPLOY_FAILED:
            _log.error("no replica could be started: %s", state.message)
            raise WorkerDied(None, starting=True)
        return sum(each.replica_states.get("RUNNING", 0) for each in state.deployments.values())

    def replicas(self) -> list[ActorHandle]:
        """Return the actors of all replicas: Serve's own handle leads only to one that is free."""
        names = sorted(
            each["name"]
            for each in list_named_actors(all_namespaces=True)
            if each["namespace"] == _SERVE and f"::{APPLICATION}#" in each["name"]
        )
        actors = []
        for name in names:
            with contextlib.suppress(ValueError):  # it has just died
                actors.append(ray.get_actor(name, _SERVE))
        return actors

    def leave(self) -> None:
        """End all replicas, and the cluster with them if it was started here."""
        if not ray.is_initialized():
            return
        with contextlib.suppress(Exception):  # the cluster may be gone already
            if self._handle is not None:
                self._handle.shutdown()  # it reports to Serve for as long as it is there
            if self._address is not None:
                serve.delete(APPLICATION, _blocking=False)
        ray.shutdown()

    def _unavailable(self, error: Exception) -> RayUnavailable:
        reason = str(error).strip().partition("\n")[0]
        if "InvalidAuthToken" in str(error.__cause__):
            reason = "without Ray's token; set RAY_AUTH_MODE=token, as on its other machines"
        return RayUnavailable(self._address, reason)


def _most_on_a_node(resource: str, most: int) -> int:
    """Return how many replicas, of so many, share the memory of one machine."""
    counts = [int(node["Resources"].get(resource, 0)) for node in ray.nodes() if node["Alive"]]
    return max(1, min(most, max(counts, default=1)))


def _knock(address: str) -> None:
    """Raise OSError where nobody answers: Ray would try for ten minutes, or end this process."""
    found = services.canonicalize_bootstrap_address(address)
    if found is not None:
        host, _, port = found.rpartition(":")
        socket.create_connection((host.strip("[]"), int(port)), timeout=_PATIENCE).close()


def _start() -> None:
    """Start a Ray of this process's own, which nothing but this machine can reach."""
    # Ray listens on all addresses, unless it takes the machine for a desktop
    os.environ[ray_constants.ENABLE_RAY_CLUSTERS_ENV_VAR] = "0"
    ray_constants.ENABLE_RAY_CLUSTER = False
    with _without_token():
        ray.init(
            "local",
            include_dashboard=False,
            object_store_memory=_OBJECTS,
            configure_logging=False,
            log_to_driver=False,
        )


@contextmanager
def _without_token() -> Iterator[None]:
    """Keep the bot's token out of the environment that Ray's processes inherit."""
    token = os.environ.pop("DISCORD_TOKEN", None)
    try:
        yield
    finally:
        if token is not None:
            os.environ["DISCORD_TOKEN"] = token
