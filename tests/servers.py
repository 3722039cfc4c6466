"""The two ways in which tests get their servers; both give real Apache Kafka and real Redis."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

from ops.stack import servers as native_servers
from schemas.settings import Settings

KAFKA_IMAGE = "apache/kafka:4.1.0"
REDIS_IMAGE = "redis:7-alpine"


class TestServers(Protocol):
    """Addresses, and the power to take the servers away."""

    __test__ = False
    kafka: str
    redis: str
    mode: str

    def stop_kafka(self, kill: bool = False) -> None: ...
    def start_kafka(self) -> None: ...
    def freeze_kafka(self) -> None: ...
    def thaw_kafka(self) -> None: ...
    def stop_redis(self, kill: bool = False) -> None: ...
    def start_redis(self) -> None: ...


def why_no_containers() -> str | None:
    """Why testcontainers cannot be used here; None if it can."""
    if os.environ.get("FRESHET_TEST_SERVERS") == "native":
        return "FRESHET_TEST_SERVERS=native"
    if shutil.which("docker") is None:
        return "no docker command"
    answer = subprocess.run(["docker", "info"], capture_output=True, text=True, timeout=20, check=False)
    if answer.returncode != 0:
        return f"no Docker engine answers: {(answer.stderr or answer.stdout).strip().splitlines()[-1]}"
    for image in (KAFKA_IMAGE, REDIS_IMAGE):
        if subprocess.run(["docker", "image", "inspect", image], capture_output=True, check=False).returncode == 0:
            continue
        pulled = subprocess.run(["docker", "pull", "-q", image], capture_output=True, text=True, timeout=300, check=False)
        if pulled.returncode != 0:
            return f"image {image} cannot be pulled: {pulled.stderr.strip().splitlines()[-1]}"
    return None


@contextmanager
def start_servers(folder: Path) -> Iterator[TestServers]:
    """Kafka and Redis for tests: in containers where that works, else as native processes below `folder`."""
    if why_no_containers() is None:
        from tests.containers import container_servers

        with container_servers(KAFKA_IMAGE, REDIS_IMAGE) as servers:
            yield servers
    else:
        os.environ.setdefault("FRESHET_CACHE", str(Path("~/.freshet/cache").expanduser()))
        with native_servers(Settings.from_environment({}, home=folder), folder / "servers", say=lambda line: None) as servers:
            yield servers
