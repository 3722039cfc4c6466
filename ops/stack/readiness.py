"""Whether a server answers: asked with a real request, because an open port is not yet a working server."""

from __future__ import annotations

import http.client
import json
import logging
import socket
from collections.abc import Mapping
from typing import Any

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

_SILENT = logging.Logger("librdkafka", level=logging.CRITICAL + 1)


def port_answers(address: str, seconds: float = 0.5) -> bool:
    """Whether something accepts connections at `host:port`."""
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host, int(port)), seconds).close()
    except (OSError, ValueError):
        return False
    return True


def kafka_answers(servers: str, seconds: float = 2.0) -> bool:
    """Whether a broker of `host:port[,host:port]` answers a metadata request with at least one live broker."""
    if not any(port_answers(address) for address in servers.split(",")):
        return False
    client = AdminClient({"bootstrap.servers": servers, "log_level": 0}, logger=_SILENT)
    try:
        return bool(client.list_topics(timeout=seconds).brokers)
    except KafkaException:
        return False


def redis_answers(url: str, seconds: float = 2.0) -> bool:
    """Whether Redis answers PING; not while it still loads its data."""
    import redis  # noqa: PLC0415 (half a second that the start of the servers need not wait for)

    try:
        with redis.Redis.from_url(url, socket_timeout=seconds, socket_connect_timeout=seconds) as client:
            return bool(client.ping())
    except (redis.RedisError, ValueError):
        return False


def api_answers(url: str, seconds: float = 1.0) -> bool:
    """Whether GET /readyz of the API answers 200."""
    connection = http.client.HTTPConnection(url.removeprefix("http://"), timeout=seconds)
    try:
        connection.request("GET", "/readyz")
        return connection.getresponse().status == http.client.OK
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def heartbeats(url: str) -> dict[int, Mapping[str, Any]]:
    """The heartbeat of every worker of that Redis, by pid; none when Redis does not answer."""
    import redis  # noqa: PLC0415 (half a second that the start of the servers need not wait for)

    try:
        with redis.Redis.from_url(url, socket_timeout=1, socket_connect_timeout=1) as client:
            keys = list(client.scan_iter(match="worker:*", count=1000))
            values = client.mget(keys) if keys else []
    except redis.RedisError:
        return {}
    found = (_heartbeat(value) for value in values)
    return {heartbeat["pid"]: heartbeat for heartbeat in found if heartbeat}


def lag_of(heartbeat: Mapping[str, Any] | None) -> int | None:
    """Events that a worker has not applied yet, None when unknown."""
    lag = heartbeat.get("lag") if heartbeat else None
    return lag if isinstance(lag, int) else None


def learner_of(heartbeat: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """What the learner says, `{"events", "lag", "restarts"}`, where this worker is the one that learns."""
    learner = heartbeat.get("learner") if heartbeat else None
    return learner if isinstance(learner, dict) else None


def _heartbeat(value: bytes | None) -> dict[str, Any] | None:
    try:
        heartbeat = json.loads(value or b"null")
    except ValueError:
        return None
    return heartbeat if isinstance(heartbeat, dict) and isinstance(heartbeat.get("pid"), int) else None
