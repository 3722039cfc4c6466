"""Creating and checking topics on a real Kafka. Each test has topics of its own, by prefix, as the broker is shared."""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from confluent_kafka.admin import AdminClient

import ops.topics
from ops.topics import create_topics
from schemas.errors import InvalidSettings, KafkaUnavailable, LayoutMismatch
from schemas.settings import Settings
from schemas.topics import TopicSpec, declared_topics


@pytest.fixture
def prefix(stack_servers: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Declared topics get this before their names; they are deleted at the end."""
    prefix = f"t{uuid.uuid4().hex[:8]}-"

    def prefixed(settings: Settings) -> list[TopicSpec]:
        return [spec._replace(name=prefix + spec.name) for spec in declared_topics(settings)]

    monkeypatch.setattr(ops.topics, "declared_topics", prefixed)
    yield prefix
    admin = AdminClient({"bootstrap.servers": stack_servers.kafka})
    mine = [name for name in admin.list_topics(timeout=10).topics if name.startswith(prefix)]
    for future in (admin.delete_topics(mine) if mine else {}).values():
        future.result()


@pytest.fixture
def settings(stack_servers: Any) -> Settings:
    return Settings(kafka=stack_servers.kafka, redis=stack_servers.redis, partitions=3)


@pytest.mark.integration
def test_missing_topics_are_created_as_declared_and_stay(prefix: str, settings: Settings) -> None:
    said: list[str] = []
    first = create_topics(settings, said.append)
    assert len(said) == len(first["topics"]) == len(declared_topics(settings))
    assert all(topic["created"] and topic["partitions"] == 3 for topic in first["topics"])
    second = create_topics(settings, said.append)
    assert not any(topic["created"] for topic in second["topics"])
    assert second["warnings"] == []  # so the settings in Kafka are the declared ones


@pytest.mark.integration
def test_two_at_once_do_not_disturb_each_other(prefix: str, settings: Settings) -> None:
    with ThreadPoolExecutor(2) as pool:
        reports = list(pool.map(lambda _: create_topics(settings, lambda _: None), range(2)))
    by_topic = zip(*(report["topics"] for report in reports), strict=True)
    assert all(one["created"] + other["created"] == 1 for one, other in by_topic)


@pytest.mark.integration
def test_another_partition_count_is_refused_with_the_way_out(prefix: str, settings: Settings) -> None:
    create_topics(settings, lambda _: None)
    with pytest.raises(LayoutMismatch, match=rf"{prefix}views has 3 partitions, wanted are 4 .*FRESHET_PARTITIONS=3"):
        create_topics(settings.model_copy(update={"partitions": 4}), lambda _: None)


@pytest.mark.integration
def test_a_differing_setting_is_a_warning(prefix: str, settings: Settings) -> None:
    create_topics(settings, lambda _: None)
    said: list[str] = []
    report = create_topics(settings.model_copy(update={"retention_days": 7}), said.append)
    assert f"topic {prefix}views: retention.ms is -1, declared is 604800000; left as it is" in said
    assert report["warnings"] == said


@pytest.mark.integration
def test_more_replicas_than_brokers_is_a_wrong_setting(prefix: str, settings: Settings) -> None:
    with pytest.raises(InvalidSettings, match="FRESHET_REPLICATION"):
        create_topics(settings.model_copy(update={"replication": 9}), lambda _: None)


@pytest.mark.parametrize("address", ["127.0.0.1:1", "no-such-host.invalid:9092"])
def test_nobody_there_is_said_at_once_with_the_address(address: str) -> None:
    begun = time.monotonic()
    with pytest.raises(KafkaUnavailable, match=address):
        create_topics(Settings(kafka=address), lambda _: None)
    assert time.monotonic() - begun < 10


@pytest.mark.parametrize("address", ["localhost", "localhost:", ":9092", "localhost:x", "localhost:99999"])
def test_an_address_without_port_is_a_wrong_setting(address: str) -> None:
    with pytest.raises(InvalidSettings, match="host:port"):
        create_topics(Settings(kafka=address), lambda _: None)


def test_no_address_is_a_wrong_setting() -> None:
    with pytest.raises(InvalidSettings, match="FRESHET_KAFKA"):
        create_topics(Settings(), lambda _: None)
