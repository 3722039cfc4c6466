"""The process that owns the processes of one stack: starts them, starts them again when they die, stops them in order.

    python -m ops.stack.supervisor FOLDER

SIGTERM stops the stack; SIGHUP makes it read `desired.json` again. It reports in `state.json`. When it dies itself, even
by `kill -9`, the kernel kills its children (Linux).
"""

from __future__ import annotations

import logging
import os
import signal
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from ops.stack.commands import Api, Runner, Worker
from ops.stack.compose import Compose
from ops.stack.kafka import NativeKafka
from ops.stack.processes import ProcessId, stop
from ops.stack.spec import Spec
from ops.stack.state import FAILED, READY, STARTING, STOPPED, Desired, Folder, State
from ops.stack.watch import Watch, start_all
from schemas.errors import StackError

TICK_SECONDS = 0.1
log = logging.getLogger("freshet.supervisor")


class Supervisor:
    """Runs one stack until it is told to stop."""

    def __init__(self, folder: Folder, spec: Spec) -> None:
        self._folder = folder
        self._spec = spec
        self._addresses: dict[str, str] = {}
        self._runner = Runner(folder, spec.commands, spec.variables, self._addresses)
        self._servers: list[Watch] = []
        self._clients: list[Watch] = []
        self._topics_created = False
        self._stopping = False
        self._reread = False
        self._state = State(spec.name, spec.plan.mode, STARTING, ProcessId.of(os.getpid()))

    def run(self) -> int:
        """Start, watch, stop; returns the exit code."""
        signal.signal(signal.SIGTERM, self._on_signal)
        signal.signal(signal.SIGINT, self._on_signal)
        signal.signal(signal.SIGHUP, self._on_signal)
        phase, error = STOPPED, None
        try:
            self._start()
            self._watch()
        except StackError as failure:
            phase, error = FAILED, str(failure)
            log.error("%s", failure)
        finally:
            self._stop()
            self._report(phase=phase, error=error, parts=())
        return 0 if error is None else 1

    def _on_signal(self, number: int, frame: object) -> None:
        if number == signal.SIGHUP:
            self._reread = True
        else:
            self._stopping = True

    def _start(self) -> None:
        self._report()
        plan = self._spec.plan
        self._servers = [Watch(server) for server in plan.servers(self._folder)]
        start_all(self._servers, rebind=True, cancelled=lambda: self._stopping)
        self._addresses |= {name: address for name in ("kafka", "redis") if (address := getattr(plan, name))}
        for server in plan.servers(self._folder):
            self._addresses[server.name] = server.address
        self._report()
        added = self._reconcile()
        start_all(added, rebind=True, cancelled=lambda: self._stopping)
        summary = plan.describe(self._spec.name, self._addresses.get("kafka"), self._addresses.get("redis"))
        self._report(phase=READY, summary=summary)
        log.info("ready: %s", summary)

    def _watch(self) -> None:
        while not self._stopping:
            if self._reread:
                self._reread = False
                self._adapt()
            changes = [self._tend(watch) for watch in (*self._servers, *self._clients)]
            if any(changes):
                self._report()
            time.sleep(TICK_SECONDS)

    def _adapt(self) -> None:
        """Do what `desired.json` says now; a failure is reported and leaves the running parts alone."""
        try:
            for watch in self._reconcile():
                watch.start()
            self._report(error=None)
        except StackError as error:
            log.error("%s", error)
            self._report(error=str(error))

    def _tend(self, watch: Watch) -> bool:
        """Start a part again if it died, see whether it got ready; returns whether anything changed."""
        was_ready, child = watch.ready, watch.child
        changed = watch.revive()
        if changed and watch.child is None and child is not None:
            log.warning("%s (pid %d) died with exit code %s", watch.part.name, child.pid, child.process.returncode)
        elif changed and watch.child is not None:
            log.info("%s started again as pid %d", watch.part.name, watch.child.pid)
        return changed or watch.check() != was_ready

    def _reconcile(self) -> list[Watch]:
        """Bring workers and API to what is desired: stop the surplus, return what is to be started (topics exist by then)."""
        desired = Desired.read(self._folder)
        parts: list[Worker | Api] = [Worker(self._runner, n + 1) for n in range(desired.worker_count)]
        if "api" in desired.parts:
            parts.append(Api(self._runner, self._spec.api_port))
        names = {part.name for part in parts}
        _stop_watches([watch for watch in self._clients if watch.part.name not in names])
        kept = [watch for watch in self._clients if watch.part.name in names]
        known = {watch.part.name for watch in kept}
        added = [Watch(part) for part in parts if part.name not in known]
        self._clients = kept
        if added and not self._topics_created:
            self._runner.create_topics(lambda: self._stopping)
            self._topics_created = True
        self._clients = kept + added
        return added

    def _stop(self) -> None:
        log.info("stopping")
        _stop_watches([watch for watch in self._clients if watch.part.kind == "api"])
        _stop_watches([watch for watch in self._clients if watch.part.kind == "worker"])
        _stop_watches([watch for watch in self._servers if isinstance(watch.part, NativeKafka)])
        _stop_watches(self._servers)
        if self._spec.plan.project:
            try:
                Compose(self._spec.plan.project, self._folder).stop()
            except StackError as error:
                log.warning("%s", error)

    def _report(self, **changes: Any) -> None:
        watches = (*self._servers, *self._clients)
        api = next((watch.part.address for watch in watches if isinstance(watch.part, Api)), None)
        seen: dict[str, Any] = {"api": api, "parts": tuple(watch.state() for watch in watches), **self._addresses}
        self._state = replace(self._state, **(seen | changes))
        self._state.write(self._folder)


def _stop_watches(watches: list[Watch]) -> None:
    children = [watch.child for watch in watches if watch.child is not None]
    if children:
        stop(children, grace=max(watch.part.grace for watch in watches))


def main(folder: str) -> int:
    """Run the supervisor of that folder; returns the exit code."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    where = Folder(Path(folder))
    return Supervisor(where, Spec.read(where)).run()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
