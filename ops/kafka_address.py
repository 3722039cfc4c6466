"""Where Kafka is, and a quick, plain answer when nobody is there."""

from __future__ import annotations

import socket
from typing import Final

from schemas.errors import InvalidSettings, KafkaUnavailable
from schemas.settings import Settings

PROBE_SECONDS: Final = 3.0
WAY_OUT: Final = "Is it running (`freshet up`), and is FRESHET_KAFKA right?"


def required_servers(settings: Settings) -> str:
    """The bootstrap servers of the settings.

    Raises:
        InvalidSettings: there are none.
    """
    if not settings.kafka:
        raise InvalidSettings("no Kafka address: set FRESHET_KAFKA=host:port or start a local stack with `freshet up`")
    return settings.kafka


def check_reachable(servers: str) -> None:
    """Open and close a connection to the bootstrap servers; one that accepts is enough.

    librdkafka keeps trying until its timeout where nobody listens and then does not say why; this says so at once.

    Args:
        servers: host:port[,host:port].

    Raises:
        InvalidSettings: an address is not host:port.
        KafkaUnavailable: none accepts a connection; with the address and the reason.
    """
    reasons = []
    for address in servers.split(","):
        host, port = _split(address.strip())
        try:
            socket.create_connection((host, port), timeout=PROBE_SECONDS).close()
        except OSError as error:
            reasons.append(error.strerror or str(error))
        else:
            return
    raise KafkaUnavailable(f"Kafka at {servers} cannot be reached ({'; '.join(reasons)}). {WAY_OUT}")


def _split(address: str) -> tuple[str, int]:
    host, _, port = address.partition("://")[-1].rpartition(":") if "://" in address else address.rpartition(":")
    if not host or not port.isdecimal() or not 0 < int(port) < 65536:
        raise InvalidSettings(f"FRESHET_KAFKA={address!r}: expected host:port[,host:port]")
    return host.strip("[]"), int(port)


def client_config(servers: str) -> dict[str, object]:
    """Settings that every confluent-kafka client of the command line shares.

    They are quiet: librdkafka would write to stderr what is raised as an exception anyway.

    Args:
        servers: host:port[,host:port].
    """
    return {"bootstrap.servers": servers, "client.id": "freshet", "log_level": 0, "error_cb": lambda _: None}
