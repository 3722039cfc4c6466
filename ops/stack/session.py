"""Kafka and Redis for the length of a `with` block, owned by the calling process: for integration tests and benchmarks."""

from __future__ import annotations

import hashlib
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from ops.stack.backends import DOCKER, Plan, choose
from ops.stack.compose import Compose
from ops.stack.processes import Say, stop
from ops.stack.state import Folder
from ops.stack.watch import Watch, start_all
from schemas.errors import StackError

if TYPE_CHECKING:
    from schemas.settings import Settings  # not at run time: pydantic would cost a starting supervisor 0.4 s


class Servers:
    """A running Kafka and Redis that can be stopped, killed and started again on the same ports and data."""

    def __init__(self, plan: Plan, folder: Folder, compose: Compose) -> None:
        self.mode = plan.mode
        self._plan = plan
        self._compose = compose
        self._native = {server.name: server for server in plan.servers(folder)}
        self._watches = {name: Watch(server) for name, server in self._native.items()}

    @property
    def kafka(self) -> str:
        """`host:port`."""
        return self._plan.kafka or self._native["kafka"].address

    @property
    def redis(self) -> str:
        """The URL."""
        return self._plan.redis or self._native["redis"].address

    def open(self) -> None:
        """Start both and wait until they answer."""
        start_all(list(self._watches.values()), rebind=True)

    def stop_kafka(self, kill: bool = False) -> None:
        """Stop Kafka, or `kill -9` it."""
        self._stop("kafka", kill)

    def start_kafka(self) -> None:
        """Start Kafka again; returns when it answers."""
        self._start("kafka")

    def freeze_kafka(self) -> None:
        """Let Kafka stand still: it answers nobody, and no connection to it breaks (native processes only)."""
        self._signal("kafka", signal.SIGSTOP)

    def thaw_kafka(self) -> None:
        """Let a frozen Kafka go on."""
        self._signal("kafka", signal.SIGCONT)

    def stop_redis(self, kill: bool = False) -> None:
        """Stop Redis, or `kill -9` it."""
        self._stop("redis", kill)

    def start_redis(self) -> None:
        """Start Redis again; returns when it answers."""
        self._start("redis")

    def close(self) -> None:
        """Stop both; containers are removed with their data, folders stay."""
        watches = list(self._watches.values())
        stop([watch.child for watch in watches if watch.child], max((watch.part.grace for watch in watches), default=0))
        if self.mode == DOCKER:
            self._compose.remove()

    def _stop(self, name: str, kill: bool) -> None:
        watch = self._own(name)
        if watch is None:
            (self._compose.kill if kill else self._compose.stop)(name)
        elif watch.child is not None:
            stop([watch.child], watch.part.grace, kill)

    def _signal(self, name: str, number: signal.Signals) -> None:
        watch = self._own(name)
        if watch is None or watch.child is None:
            raise StackError(f"{name} is no running process of ours")
        watch.child.identity.signal(number)

    def _start(self, name: str) -> None:
        watch = self._own(name)
        if watch is None:
            self._compose.up([name])
        elif watch.child is None or not watch.child.alive():
            start_all([watch], rebind=False)

    def _own(self, name: str) -> Watch | None:
        """The watch of a native server; None for a container.

        Raises:
            StackError: the server is external.
        """
        watch = self._watches.get(name)
        address = self._plan.kafka if name == "kafka" else self._plan.redis
        if watch is None and not (self._plan.project and address == getattr(self._compose, name)):
            raise StackError(f"{name} at {address} is not ours to start or stop")
        return watch


@contextmanager
def servers(settings: Settings, folder: Path, say: Say = print) -> Iterator[Servers]:
    """Kafka and Redis with their data, logs and ports in `folder`, stopped at the end of the block.

    They die with this process, also when it is killed (Linux). The folder stays; a later call with it goes on with
    the data and, where they are free, the ports.

    Raises:
        StackError: they cannot be started.
    """
    where = Folder(folder.absolute())
    compose = Compose(f"freshet-{hashlib.sha256(str(where.path).encode()).hexdigest()[:10]}", where)
    plan = choose(settings, where, compose.project, ("kafka", "redis"), say)
    running = Servers(plan, where, compose)
    try:
        running.open()
        say(f"freshet: {plan.describe(where.path.name, running.kafka, running.redis)}; logs in {where.logs}")
        yield running
    finally:
        running.close()
