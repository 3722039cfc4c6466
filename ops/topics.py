"""Creates the declared topics and checks those that exist. Idempotent, and safe when two run at once."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from typing import Any, Final

from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import AdminClient, ConfigResource, NewTopic, TopicMetadata

from ops.kafka_address import WAY_OUT, check_reachable, client_config, required_servers
from schemas.errors import FreshetError, InvalidSettings, KafkaUnavailable, LayoutMismatch
from schemas.settings import Settings
from schemas.topics import DAY_MS, TopicSpec, declared_topics

CONNECT_SECONDS: Final = 8.0
LEADERS_SECONDS: Final = 30.0
Say = Callable[[str], None]


def create_topics(settings: Settings, say: Say) -> dict[str, Any]:
    """Create what is missing of `declared_topics(settings)`, check the rest, and wait until every partition has a leader.

    Args:
        settings: `kafka`, `partitions`, `replication` and `retention_days` are used.
        say: takes one line for a person: each topic created, each setting that differs.

    Returns:
        {"kafka": address, "topics": [{"name", "key", "partitions", "retention_ms", "cleanup", "created"}], "warnings": [line]}.

    Raises:
        KafkaUnavailable: not reached within about ten seconds, or no leaders within thirty.
        LayoutMismatch: a topic has another number of partitions.
        InvalidSettings: the cluster refuses a topic, e.g. for more replicas than it has brokers.
    """
    servers = required_servers(settings)
    check_reachable(servers)
    admin = AdminClient(client_config(servers))
    wanted = declared_topics(settings)
    present = _read_topics(admin, servers)
    _check_layout(wanted, present)
    missing = [spec for spec in wanted if spec.name not in present]
    created = _create(admin, servers, missing, settings.replication, say)
    _wait_for_leaders(admin, servers, wanted)
    warnings = _differences(admin, servers, [spec for spec in wanted if spec.name not in created])
    for line in warnings:
        say(line)
    return {"kafka": servers, "topics": [_row(spec, spec.name in created) for spec in wanted], "warnings": warnings}


def _row(spec: TopicSpec, created: bool) -> dict[str, Any]:
    retention = spec.configs.get("retention.ms")
    return {
        "name": spec.name,
        "key": spec.key,
        "partitions": spec.partitions,
        "retention_ms": None if retention is None else int(retention),
        "cleanup": spec.configs["cleanup.policy"],
        "created": created,
    }


def retention_text(retention_ms: int | None) -> str:
    """Retention as a person says it.

    >>> retention_text(-1), retention_text(2_592_000_000), retention_text(None)
    ('forever', '30 days', 'newest per key')
    """
    if retention_ms is None:
        return "newest per key"
    return "forever" if retention_ms < 0 else f"{retention_ms / DAY_MS:g} days"


def _read_topics(admin: AdminClient, servers: str) -> dict[str, TopicMetadata]:
    try:
        topics: dict[str, TopicMetadata] = admin.list_topics(timeout=CONNECT_SECONDS).topics
    except KafkaException as error:
        raise KafkaUnavailable(f"Kafka at {servers} does not answer ({error.args[0].str()}). {WAY_OUT}") from error
    return {name: topic for name, topic in topics.items() if topic.error is None}


def _check_layout(wanted: Iterable[TopicSpec], present: dict[str, TopicMetadata]) -> None:
    existing = [(spec, len(present[spec.name].partitions)) for spec in wanted if spec.name in present]
    wrong = [
        f"{spec.name} has {count} partitions, wanted are {spec.partitions}" for spec, count in existing if count != spec.partitions
    ]
    if not wrong:
        return
    counts = {count for _, count in existing}
    way_out = f"set FRESHET_PARTITIONS={counts.pop()}" if len(counts) == 1 else "give all topics the same number"
    more = f" (and {len(wrong) - 1} more topics)" if len(wrong) > 1 else ""
    raise LayoutMismatch(
        f"topic {wrong[0]}{more}. All topics need the same number of partitions: {way_out}, "
        "or delete the topics (their events are lost) and run `freshet topics` again"
    )


def _create(admin: AdminClient, servers: str, missing: list[TopicSpec], replication: int, say: Say) -> set[str]:
    if not missing:
        return set()
    new = [NewTopic(spec.name, spec.partitions, replication, config=spec.configs) for spec in missing]
    created = set()
    for name, future in admin.create_topics(new, operation_timeout=CONNECT_SECONDS).items():
        try:
            future.result()
        except KafkaException as error:
            _tolerate(name, servers, error)
        else:
            created.add(name)
            say(f"created topic {name}")
    return created


def _tolerate(name: str, servers: str, error: KafkaException) -> None:
    """Nothing for a topic that someone else created meanwhile; otherwise the error in our words."""
    fault = error.args[0]
    if fault.code() == KafkaError.TOPIC_ALREADY_EXISTS:
        return
    if fault.code() == KafkaError.INVALID_REPLICATION_FACTOR:
        raise InvalidSettings(f"topic {name}: FRESHET_REPLICATION is higher than the number of brokers: {fault.str()}") from error
    raise _explained(servers, f"create topic {name}", fault) from error


def _explained(servers: str, what: str, fault: KafkaError) -> FreshetError:
    if fault.retriable():
        return KafkaUnavailable(f"Kafka at {servers} could not {what} now: {fault.str()}")
    return FreshetError(f"Kafka at {servers} refuses to {what}: {fault.str()}")


def _wait_for_leaders(admin: AdminClient, servers: str, wanted: list[TopicSpec]) -> None:
    until = time.monotonic() + LEADERS_SECONDS
    while True:
        present = _read_topics(admin, servers)
        waiting = [spec.name for spec in wanted if not _has_leaders(present.get(spec.name))]
        if not waiting:
            _check_layout(wanted, present)  # the one who created them meanwhile may have wanted another number
            return
        if time.monotonic() > until:
            raise KafkaUnavailable(f"Kafka at {servers}: no leader for {', '.join(waiting)} within {LEADERS_SECONDS:g} s")
        time.sleep(0.1)


def _has_leaders(topic: TopicMetadata | None) -> bool:
    return topic is not None and bool(topic.partitions) and all(part.leader >= 0 for part in topic.partitions.values())


def _differences(admin: AdminClient, servers: str, specs: list[TopicSpec]) -> list[str]:
    """A line for each setting of an existing topic that is not as declared."""
    if not specs:
        return []
    resources = [ConfigResource(ConfigResource.Type.TOPIC, spec.name) for spec in specs]
    try:
        answers = {resource.name: future.result() for resource, future in admin.describe_configs(resources).items()}
    except KafkaException as error:
        raise _explained(servers, "describe the topics", error.args[0]) from error
    return [
        f"topic {spec.name}: {name} is {answers[spec.name][name].value}, declared is {value}; left as it is"
        for spec in specs
        for name, value in spec.configs.items()
        if name in answers[spec.name] and answers[spec.name][name].value != value
    ]
