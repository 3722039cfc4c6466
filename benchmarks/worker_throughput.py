"""How many events a second one worker applies, beside what the machine could do with less work on the same log.

Without the online models, which share the cores and have a benchmark of their own: `online_throughput`.
"""

from __future__ import annotations

import time

from benchmarks.rig import Rig, catalogue, events, rig, wait_until
from benchmarks.row import Row

EVENTS, STOCK_EVENTS, USERS = 200_000, 40_000, 20_000


def run() -> list[Row]:
    """Baselines first, each reading the same log, then the worker."""
    with rig() as bench:
        bench.produce(catalogue())
        bench.produce(events(EVENTS, USERS))
        rates = {
            "stock Faust agent": _consume(bench, "stock", STOCK_EVENTS),
            "batching transport, no work": _consume(bench, "batching", EVENTS),
            "raw aiokafka": _consume(bench, "raw", EVENTS),
        }
        worker = _work(bench)
    wanted = {"stock Faust agent": ">= 4 times"}
    rows = [Row("worker_throughput", worker, "events/s", wanted=">= 20,000")]
    rows += [Row(f"worker_throughput/{name}", rate, "events/s") for name, rate in rates.items()]
    rows += [
        Row("worker_throughput", worker, "events/s", name, worker / rate, wanted.get(name, "")) for name, rate in rates.items()
    ]
    return rows


def _consume(bench: Rig, kind: str, count: int) -> float:
    process = bench.spawn("-m", "benchmarks.consumers", kind, str(count))
    output, _ = process.communicate(timeout=120)
    return count / float(output.split()[-1])


def _work(bench: Rig) -> float:
    """Events per second from the first event applied until every event and every signal is in Redis."""
    worker = bench.spawn("-m", "ops.cli", "worker", learner=False)
    wait_until(lambda: bench.applied()[0] or worker.poll() is not None, 60, "the first event")
    first, started = bench.applied()[0], time.perf_counter()
    while bench.applied()[0] < EVENTS:
        time.sleep(0.02)
    bench.settle()
    return (EVENTS - first) / (time.perf_counter() - started)
