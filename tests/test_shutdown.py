"""A worker that is told to stop stops: soon, whatever its servers do, and without losing or doubling anything."""

from __future__ import annotations

import asyncio
import logging
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from confluent_kafka import Consumer

from ops.stack.commands import Worker
from schemas.topics import ITEM_STAGE_TOPICS, USER_STAGE_TOPICS
from stream_workers.shutdown import FORCED, STOP_SECONDS, waits, within
from tests import oracle
from tests.live import Live, wait_until

CHILD = """
import asyncio, logging, sys, time
import faust
from stream_workers import shutdown

logging.basicConfig(level=logging.ERROR)
shutdown.STOP_SECONDS = float(sys.argv[1])
loop = asyncio.new_event_loop()
asyncio.set_event_loop(loop)
class Stuck(faust.App):
    def on_init_dependencies(self):
        return []  # no Kafka

    async def on_start(self):
        print("ready", flush=True)
        if "blocked" in sys.argv:
            time.sleep(60)

    async def on_stop(self):
        print("stopping", flush=True)
        await asyncio.create_task(never_ends(), name="pipeline-7")

async def never_ends():
    await asyncio.Event().wait()

app = Stuck("stuck", store="memory://", web_enabled=False, datadir=sys.argv[2])
shutdown.WorkerProcess(app, lambda: [loop], loop=loop, redirect_stdouts=False, override_logging=False).execute_from_commandline()
"""


@contextmanager
def stuck(*arguments: object) -> Iterator[subprocess.Popen[str]]:
    """A process like a worker's whose stop never ends, when it is ready."""
    command = [sys.executable, "-c", CHILD, *map(str, arguments)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            wait_for_line(process, "ready")
            yield process
        finally:
            process.kill()


def wait_for_line(process: subprocess.Popen[str], wanted: str) -> None:
    assert process.stdout is not None
    for line in process.stdout:
        if line.strip() == wanted:
            return
    raise AssertionError(process.communicate()[1])


@pytest.mark.parametrize("how", ["waiting", "blocked"])
def test_the_deadline_ends_what_hangs_and_says_what_it_was(tmp_path: object, how: str) -> None:
    with stuck(1.0, tmp_path, how) as process:
        process.send_signal(signal.SIGTERM)
        _, told = process.communicate(timeout=20)
    assert process.returncode == FORCED
    assert "not stopped after 1 s" in told
    assert ("unfinished: pipeline-7: never_ends:" if how == "waiting" else "unfinished: Task") in told
    assert "Thread 0x" in told, "the stacks of all threads"


@pytest.mark.parametrize("second", [signal.SIGTERM, signal.SIGINT])
def test_a_second_signal_ends_it_at_once(tmp_path: object, second: signal.Signals) -> None:
    with stuck(60.0, tmp_path) as process:
        process.send_signal(signal.SIGTERM)
        wait_for_line(process, "stopping")
        process.send_signal(second)
        assert process.wait(5) == 128 + second


async def test_a_part_that_hangs_or_fails_does_not_hold_the_others(caplog: pytest.LogCaptureFixture) -> None:
    async def fails() -> None:
        raise OSError("gone")

    with caplog.at_level(logging.WARNING):
        await within(0.05, "producer", asyncio.sleep(60))
        await within(0.05, "catalogue", fails())
        await within(0.05, "store", asyncio.sleep(0))
    assert [record.message for record in caplog.records] == [
        "producer not stopped within 0 s; going on without it",
        "catalogue: OSError: gone",
    ]


async def test_waits_names_the_place_where_each_task_is() -> None:
    async def inner() -> None:
        await asyncio.Event().wait()

    async def outer() -> None:
        await inner()

    task = asyncio.create_task(outer(), name="pipeline-0")
    await asyncio.sleep(0)
    line = next(line for line in waits(asyncio.get_running_loop()) if line.startswith("pipeline-0: "))
    assert [step.split(":")[0].rpartition(".")[2] for step in line.removeprefix("pipeline-0: ").split(" > ")][:2] == [
        "outer",
        "inner",
    ]
    task.cancel()


def test_the_deadline_is_within_the_grace_that_the_supervisor_gives() -> None:
    assert Worker.grace >= STOP_SECONDS + 3


@pytest.mark.integration
@pytest.mark.slow
@pytest.mark.timeout(300)
class TestLive:
    """With real servers."""

    @contextmanager
    def frozen_in_the_middle(self, live: Live, seed: int) -> Iterator[tuple[subprocess.Popen[bytes], list[oracle.Made]]]:
        """A worker that applies events while Kafka is frozen; Kafka thaws and the rest is written when the block ends."""
        events = oracle.make_events(8000, users=500, items=300, seed=seed)
        worker, before = live.worker(), live.applied()
        feeder = threading.Thread(target=oracle.produce, args=(live, events))
        feeder.start()
        wait_until(lambda: live.applied() > before, 30, "the worker to apply events")
        live.servers.freeze_kafka()
        try:
            yield worker, events
        finally:
            live.servers.thaw_kafka()
            feeder.join()

    def test_a_frozen_broker_does_not_hold_it(self, live: Live) -> None:
        with self.frozen_in_the_middle(live, 41) as (worker, events):
            worker.send_signal(signal.SIGTERM)
            worker.wait(STOP_SECONDS + 3)
        survivor = live.worker()
        live.settle(120)
        assert oracle.check(live, events) > 500
        live.stop(survivor)

        with self.frozen_in_the_middle(live, 42) as (worker, more):
            worker.send_signal(signal.SIGTERM)
            wait_until(lambda: "Signal received" in live.log_of(worker), 10, "the stop to begin")
            worker.send_signal(signal.SIGTERM)
            assert worker.wait(3) == 128 + signal.SIGTERM
        survivor = live.worker()
        live.settle(120)
        assert oracle.check(live, events + more) > 500
        live.stop(survivor)

    def test_a_rebalance_does_not_make_a_stop_a_crash(self, live: Live) -> None:
        worker = live.worker()
        other = Consumer(
            {"bootstrap.servers": live.servers.kafka, "group.id": live.settings.group, "partition.assignment.strategy": "range"}
        )
        other.subscribe([*USER_STAGE_TOPICS, *ITEM_STAGE_TOPICS])
        try:
            wait_until(lambda: other.poll(0.01) or "because it is rebalancing" in live.log_of(worker), 30, "a rebalance")
            asked = time.monotonic()
            live.stop(worker)
            assert worker.returncode == 0, live.log_of(worker)
            assert time.monotonic() - asked < STOP_SECONDS
        finally:
            other.close()
