"""What an API process more costs, how soon it is there, and how soon all use what the learner commits: three and one alone."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPConnection
from pathlib import Path
from statistics import mean, median
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import httpx
import numpy as np
import orjson
import psutil
import redis
from prometheus_client.parser import text_string_to_metric_families

from benchmarks.rig import API, Rig, catalogue, rig, wait_until
from benchmarks.row import Row
from feature_store.model_pages import PageWriter
from stream_workers.models.online.bank import ModelBank
from stream_workers.models.online.columns import Interactions
from stream_workers.models.online.origin import origin_of
from stream_workers.models.online.settings import BankSettings

ITEMS, USERS, EVENTS = 100_000, 20_000, 120_000
PROCESSES = 3
ASKED = 300  # requests to each process before its memory is looked at
COMMITS, BETWEEN = 10, 200  # events from one commit to the next
MB = 1 << 20


class Learner:
    """Learns made-up events of all items and commits to the rig's Redis, as the worker would."""

    def __init__(self, bench: Rig) -> None:
        self._redis = redis.Redis.from_url(bench.servers.redis, socket_timeout=120)  # the first commit is hundreds of megabytes
        self._bank = ModelBank()
        self._pages = PageWriter(1, origin_of(BankSettings()))
        self._rng = np.random.default_rng(1)
        self._learn(1_000_000 + self._rng.permutation(ITEMS))
        self._learn(self._popular(EVENTS - ITEMS))

    def commit(self) -> int:
        """Learn a little and commit; returns how many events were learnt."""
        self._learn(self._popular(BETWEEN))
        changes = self._pages.changes(self._bank.state(), self._bank.learnt, int(time.time() * 1000))
        pipe = self._redis.pipeline(transaction=True)
        pipe.mset(dict(changes.puts))
        if changes.deletes:
            pipe.delete(*changes.deletes)
        pipe.execute()
        return self._bank.learnt

    def _popular(self, count: int) -> Any:
        return 1_000_000 + np.minimum((self._rng.pareto(0.8, count) * 20).astype(np.int64), ITEMS - 1)

    def _learn(self, items: Any) -> None:
        for start in range(0, len(items), 4000):
            part = [str(item) for item in items[start : start + 4000].tolist()]
            users = [f"user{user}" for user in self._rng.integers(0, USERS, len(part)).tolist()]
            times = int(time.time() * 1000) - EVENTS + np.arange(start, start + len(part))
            self._bank.advance(Interactions.taken(users, part, times), np.arange(len(part)) % 100 == 0)


class Group(NamedTuple):
    """An API under test: its first process, those that answer, and seconds from its start until it was ready."""

    first: psutil.Process
    url: str
    seconds: float

    def serving(self) -> list[psutil.Process]:
        """Those that answer."""
        children = [child for child in self.first.children() if child.name().startswith("freshet-api-")]
        return children or [self.first]

    def tree(self) -> list[psutil.Process]:
        """All of it."""
        return [self.first, *self.first.children()]

    def one_to_each(self) -> list[HTTPConnection]:
        """A kept connection to each process that answers."""
        found: dict[int, HTTPConnection] = {}
        serving = self.serving()
        while len(found) < len(serving):
            connection = HTTPConnection(urlsplit(self.url).netloc, timeout=20)
            ask(connection, "/healthz")
            mine = connection.sock.getsockname()
            owner = next(one.pid for one in serving if any(end.raddr == mine for end in one.net_connections()))
            found.setdefault(owner, connection)
        return list(found.values())


def ask(connection: HTTPConnection, path: str) -> Any:
    """GET, decoded."""
    connection.request("GET", path)
    return orjson.loads(connection.getresponse().read())


def run() -> list[Row]:
    """100,000 items in the catalogue and in the models; one API process, then three."""
    with rig() as bench:
        bench.produce(catalogue(ITEMS))
        learner = Learner(bench)
        learner.commit()
        with api(bench, 1) as alone:
            one = _measured(alone, learner)
        with api(bench, PROCESSES) as group:
            many = _measured(group, learner)
            taken, shared = _taken_ms(group.url), _shared_mb(group)
            replaced, cpu = _replaced(group)
    return [
        Row("api_process_alone_mb", one["uss"], "MB USS"),
        Row("api_process_extra_mb", many["uss"], "MB USS", "one process alone", many["uss"] / one["uss"], "<= 150"),
        Row("api_processes_pss_mb", many["pss"], f"MB, {PROCESSES} and two", "one process alone", many["pss"] / one["pss"]),
        Row("api_processes_slots_mb", shared, "MB"),
        Row("api_start_s", many["start"], "s to ready", "one process alone", many["start"] / one["start"]),
        Row("api_process_replaced_s", replaced, "s to ready", wanted="<= 3"),
        Row("api_process_replaced_cpu_s", cpu, "s of CPU, to ready"),
        Row("api_commit_to_all_ms", many["commit"], "ms, median", "one process alone", many["commit"] / one["commit"]),
        Row("api_version_to_use_p50_ms", taken[0], "ms, at most"),
        Row("api_version_to_use_p99_ms", taken[1], "ms, at most", wanted="<= 100"),
    ]


@contextmanager
def api(bench: Rig, processes: int) -> Iterator[Group]:
    """One that is ready, and in which every process has the models."""
    started = time.perf_counter()
    url, first = bench.server(*API, ready="/readyz", api_processes=processes)
    group = Group(psutil.Process(first.pid), url, time.perf_counter() - started)
    wait_until(lambda: len(group.serving()) == processes, 30, "all processes")
    connections = group.one_to_each()
    wait_until(lambda: all(ask(one, "/v1/models")["online"] for one in connections), 120, "the models")
    yield group
    bench.stop(first)


def _measured(group: Group, learner: Learner) -> dict[str, float]:
    connections = group.one_to_each()
    for user in range(ASKED):
        for connection in connections:
            ask(connection, f"/v1/users/user{user}/recommendations")
    waits = [_commit_to_all(connections, learner) for _ in range(COMMITS)]
    infos = {one.pid: one.memory_full_info() for one in group.tree()}
    return {
        "start": group.seconds,
        "commit": median(waits),
        "uss": mean(infos[one.pid].uss for one in group.serving()) / MB,
        "pss": sum(info.pss for info in infos.values()) / MB,
    }


def _commit_to_all(connections: list[HTTPConnection], learner: Learner) -> float:
    """Milliseconds from a commit's end to every process ranking with it."""
    learnt, committed = learner.commit(), time.perf_counter()
    for connection in connections:
        wait_until(lambda one=connection: ask(one, "/v1/models")["online"]["events"] == learnt, 30, "the commit")
    return 1000 * (time.perf_counter() - committed)


def _replaced(group: Group) -> tuple[float, float]:
    """Seconds from the death of a process until all are ready again, and the CPU time that the new one has had by then."""
    victim = group.serving()[-1]
    os.kill(victim.pid, signal.SIGKILL)
    died = time.perf_counter()
    victim.wait(5)
    everybody = f"{PROCESSES} of {PROCESSES} ready"
    wait_until(lambda: httpx.get(f"{group.url}/readyz").json()["checks"]["processes"] == everybody, 60, "the new process")
    seconds = time.perf_counter() - died
    times = max(group.serving(), key=lambda one: one.create_time()).cpu_times()
    return seconds, times.user + times.system


def _shared_mb(group: Group) -> float:
    """Memory of the slots, which counts for no process while none has it mapped."""
    files = Path(f"/proc/{group.first.pid}/fd").iterdir()
    slots = [file.stat() for file in files if "freshet-models" in str(file.readlink())]
    return sum(slot.st_blocks * 512 for slot in slots) / MB


def _taken_ms(url: str) -> tuple[float, float]:
    """Bounds of the median and of the 99th percentile of `freshet_models_taken_seconds`, of all processes together."""
    families = text_string_to_metric_families(httpx.get(f"{url}/metrics").text)
    samples = next(family.samples for family in families if family.name == "freshet_models_taken_seconds")
    buckets = sorted((float(s.labels["le"]), s.value) for s in samples if s.name.endswith("_bucket"))
    total = buckets[-1][1]
    p50, p99 = (next(bound for bound, seen in buckets if seen >= share * total) for share in (0.5, 0.99))
    return 1000 * p50, 1000 * p99
