"""Kafka and Redis in containers: the `kafka` and `redis` services of docker-compose.yml under a project name of their own."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from ops.stack.missing import MissingError
from ops.stack.ports import HOST
from ops.stack.processes import wait_until
from ops.stack.readiness import kafka_answers, redis_answers
from ops.stack.state import Folder

FILE = Path(__file__).resolve().parents[2] / "docker-compose.yml"
ENGINE_SECONDS = 3.0
UP_SECONDS = 900.0  # images may have to be pulled
ANSWER_SECONDS = 30.0
DOWN_SECONDS = 120.0


@dataclass(frozen=True)
class Compose:
    """The containers of one stack; their host ports are in `<folder>/ports.json`."""

    project: str
    folder: Folder

    @property
    def kafka(self) -> str:
        """`127.0.0.1:port` for clients on this host."""
        return f"{HOST}:{self.folder.ports.get('kafka')}"

    @property
    def redis(self) -> str:
        """The URL for clients on this host."""
        return f"redis://{HOST}:{self.folder.ports.get('redis')}/0"

    def up(self, services: Iterable[str]) -> None:
        """Start these services and wait until they are healthy.

        Raises:
            MissingError: an image cannot be pulled, a port is taken, a service does not get healthy.
        """
        wanted = set(services)
        self._call("up", "-d", "--wait", *sorted(wanted), seconds=UP_SECONDS)
        # Healthy inside the container is not yet reachable at the published port.
        if "kafka" in wanted and not wait_until(lambda: kafka_answers(self.kafka), ANSWER_SECONDS):
            raise MissingError(f"the Kafka container does not answer at {self.kafka}")
        if "redis" in wanted and not wait_until(lambda: redis_answers(self.redis), ANSWER_SECONDS):
            raise MissingError(f"the Redis container does not answer at {self.redis}")

    def stop(self, *services: str) -> None:
        """Stop services (all when none is named); their data stays."""
        self._call("stop", *services, seconds=DOWN_SECONDS)

    def kill(self, *services: str) -> None:
        """SIGKILL services; their data stays."""
        self._call("kill", *services, seconds=DOWN_SECONDS)

    def remove(self) -> None:
        """Remove the containers and their data."""
        self._call("down", "--volumes", "--remove-orphans", seconds=DOWN_SECONDS)

    def _call(self, *arguments: str, seconds: float) -> None:
        ports = self.folder.ports
        environment = os.environ | {
            "FRESHET_KAFKA_PORT": str(ports.get("kafka")),
            "FRESHET_REDIS_PORT": str(ports.get("redis")),
        }
        command = ["docker", "compose", "-p", self.project, "-f", str(FILE), *arguments]
        try:
            done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=seconds, check=False)
        except (OSError, subprocess.TimeoutExpired) as error:
            raise MissingError(f"`docker compose {arguments[0]}` failed: {error}") from error
        if done.returncode != 0:
            told = " / ".join((done.stderr or done.stdout).strip().splitlines()[-3:])
            raise MissingError(f"`docker compose {arguments[0]}` failed: {told}")


def require_docker() -> None:
    """Check that a Docker engine and Compose answer.

    Raises:
        MissingError: says which of them does not.
    """
    if shutil.which("docker") is None:
        raise MissingError("no `docker` on the PATH")
    if not _succeeds(["docker", "info"]):
        raise MissingError("no Docker engine answers `docker info`")
    if not _succeeds(["docker", "compose", "version"]):
        raise MissingError("`docker compose` (version 2) is not installed")
    if not FILE.exists():
        raise MissingError(f"no {FILE}")


def _succeeds(command: list[str]) -> bool:
    try:
        return subprocess.run(command, capture_output=True, timeout=ENGINE_SECONDS, check=False).returncode == 0
    except (OSError, subprocess.TimeoutExpired):
        return False


def start_containers(compose: Compose, services: Iterable[str]) -> None:
    """Start services on ports that are free now; nothing of them stays running when that fails.

    Raises:
        MissingError: they do not start.
    """
    # Containers of an earlier `down --keep` hold data that a failed start must not cost.
    give_up = compose.stop if (compose.folder.path / "ports.json").exists() else compose.remove
    compose.folder.ports.settle("kafka", "redis")
    try:
        compose.up(services)
    except MissingError as error:
        try:
            give_up()
        except MissingError as second:
            raise MissingError(f"{error}; cleaning up failed too: {second}") from error
        raise
