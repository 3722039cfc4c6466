"""The fixtures on testcontainers: used by every integration test where a Docker engine runs and the images can be had."""

from __future__ import annotations

from pathlib import Path

import pytest
import redis
import yaml

from ops.topics import create_topics
from schemas.settings import Settings
from tests.containers import container_servers, kafka_environment
from tests.servers import KAFKA_IMAGE, REDIS_IMAGE, why_no_containers


def test_the_broker_in_a_container_is_the_one_of_the_compose_file() -> None:
    """Without an engine testcontainers makes no object at all, so what can be checked everywhere is what the broker is told."""
    compose = yaml.safe_load((Path(__file__).parents[1] / "docker-compose.yml").read_text())["services"]["kafka"]
    told = kafka_environment(19092)
    assert told["KAFKA_ADVERTISED_LISTENERS"] == "PLAINTEXT://127.0.0.1:19092"
    assert compose["image"] == KAFKA_IMAGE
    for name in ("KAFKA_PROCESS_ROLES", "KAFKA_AUTO_CREATE_TOPICS_ENABLE", "KAFKA_OFFSETS_TOPIC_REPLICATION_FACTOR"):
        assert told[name] == str(compose["environment"][name])


@pytest.mark.integration
def test_kafka_and_redis_in_containers() -> None:
    reason = why_no_containers()
    if reason is not None:
        pytest.skip(f"testcontainers cannot be used here: {reason}; the native servers took their place in the other tests")
    with container_servers(KAFKA_IMAGE, REDIS_IMAGE) as servers:
        settings = Settings.from_environment({}, kafka=servers.kafka, redis=servers.redis)
        create_topics(settings, say=lambda line: None)
        client = redis.Redis.from_url(servers.redis)
        client.set("kept", "yes")
        servers.stop_redis(kill=True)
        servers.start_redis()
        assert client.ping()
