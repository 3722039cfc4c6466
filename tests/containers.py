"""Kafka and Redis in containers, through testcontainers."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import closing, contextmanager

from testcontainers.core.container import DockerContainer
from testcontainers.core.wait_strategies import LogMessageWaitStrategy


class ContainerServers:
    """Implements `tests.servers.TestServers`. Host ports are fixed, so that clients find a restarted server again."""

    mode = "testcontainers"

    def __init__(self, kafka: DockerContainer, redis: DockerContainer, kafka_port: int, redis_port: int) -> None:
        self._kafka, self._redis = kafka, redis
        self.kafka = f"127.0.0.1:{kafka_port}"
        self.redis = f"redis://127.0.0.1:{redis_port}/0"

    def stop_kafka(self, kill: bool = False) -> None:
        self._stop(self._kafka, kill)

    def start_kafka(self) -> None:
        self._kafka.get_wrapped_container().start()

    def freeze_kafka(self) -> None:
        self._kafka.get_wrapped_container().pause()

    def thaw_kafka(self) -> None:
        self._kafka.get_wrapped_container().unpause()

    def stop_redis(self, kill: bool = False) -> None:
        self._stop(self._redis, kill)

    def start_redis(self) -> None:
        self._redis.get_wrapped_container().start()

    @staticmethod
    def _stop(container: DockerContainer, kill: bool) -> None:
        wrapped = container.get_wrapped_container()
        if kill:
            wrapped.kill()
        else:
            wrapped.stop()
        wrapped.wait()


def _free_port() -> int:
    with closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def kafka_environment(port: int) -> dict[str, str]:
    """Settings of a one-node KRaft broker that clients on the host reach at `port`."""
    return {
        "KAFKA_NODE_ID": "1",
        "KAFKA_PROCESS_ROLES": "broker,controller",
        "KAFKA_CONTROLLER_QUORUM_VOTERS": "1@localhost:9093",
        "KAFKA_LISTENERS": "PLAINTEXT://:9092,CONTROLLER://:9093",
        "KAFKA_ADVERTISED_LISTENERS": f"PLAINTEXT://127.0.0.1:{port}",
        "KAFKA_CONTROLLER_LISTENER_NAMES": "CONTROLLER",
        "KAFKA_LISTENER_SECURITY_PROTOCOL_MAP": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
        "KAFKA_OFFSETS_TOPIC_REPLICATION_FACTOR": "1",
        "KAFKA_GROUP_INITIAL_REBALANCE_DELAY_MS": "0",
        "KAFKA_GROUP_MIN_SESSION_TIMEOUT_MS": "1000",
        "KAFKA_AUTO_CREATE_TOPICS_ENABLE": "false",
    }


def kafka_container(image: str, port: int) -> DockerContainer:
    """The broker; making the object already needs a Docker engine."""
    container = DockerContainer(image).with_bind_ports(9092, port)
    for name, value in kafka_environment(port).items():
        container.with_env(name, value)
    return container.waiting_for(LogMessageWaitStrategy("Kafka Server started").with_startup_timeout(120))


def redis_container(image: str, port: int) -> DockerContainer:
    """A Redis with an append-only file."""
    container = (
        DockerContainer(image).with_bind_ports(6379, port).with_command("redis-server --appendonly yes --appendfsync everysec")
    )
    return container.waiting_for(LogMessageWaitStrategy("Ready to accept connections").with_startup_timeout(60))


@contextmanager
def container_servers(kafka_image: str, redis_image: str) -> Iterator[ContainerServers]:
    """Start both, stop both."""
    kafka_port, redis_port = _free_port(), _free_port()
    with kafka_container(kafka_image, kafka_port) as kafka, redis_container(redis_image, redis_port) as redis:
        yield ContainerServers(kafka, redis, kafka_port, redis_port)
