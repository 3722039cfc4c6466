"""How many events a second one worker applies and learns with all online models on, beside what it applies without them."""

from __future__ import annotations

from benchmarks.rig import catalogue, compile_models, events, rig
from benchmarks.row import Row

EVENTS, USERS, SAMPLE = 200_000, 20_000, 0.02


def run() -> list[Row]:
    """The same log twice, each time on servers of its own: state alone, then state, models and scoreboard."""
    compile_models()
    state, online = _work(learner=False), _work(learner=True)
    return [
        Row("online_throughput/state_alone", state, "events/s", wanted=">= 20,000"),
        Row("online_throughput", online, "events/s", "state alone", online / state, ">= 10,000"),
    ]


def _work(learner: bool) -> float:
    """Events per second from the first event applied until all are in Redis, and learnt if there is a learner."""
    log = list(events(EVENTS, USERS))
    with rig() as bench:
        bench.produce(catalogue())
        bench.worker(learner=learner, scoreboard_sample=SAMPLE)
        return bench.rate_of(log, learner)
