"""`up`, `down` and `status` of a local stack by name."""

from __future__ import annotations

import os
import shutil
import signal
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ops.stack.backends import EXTERNAL, SERVERS, choose
from ops.stack.commands import COMMANDS, ROOT, child_environment
from ops.stack.compose import Compose
from ops.stack.files import locked, read_json, write_json
from ops.stack.processes import ProcessId, Say, start_detached, tail, wait_until
from ops.stack.readiness import heartbeats, lag_of, learner_of
from ops.stack.spec import Spec
from ops.stack.state import FAILED, PARTS, READY, Desired, Folder, State
from schemas.errors import StackError

if TYPE_CHECKING:
    from schemas.settings import Settings  # not at run time: pydantic would cost a starting supervisor 0.4 s

DEFAULT_NAME = "default"
STOP_SECONDS = 75.0  # API, workers, Kafka and Redis each have their own, shorter grace
MOST_DEATHS = 3


@dataclass(frozen=True)
class Stack:
    """The addresses of a running stack. `kafka` or `redis` is empty when `only` left it out and none is set."""

    name: str
    kafka: str
    redis: str
    api: str | None
    mode: str
    folder: Path


def up(
    settings: Settings,
    name: str = DEFAULT_NAME,
    workers: int = 1,
    only: frozenset[str] | None = None,
    say: Say = print,
) -> Stack:
    """Start a local stack and return when all of it is ready; a supervisor stays behind and keeps it running.

    A stack of that name that runs already is returned as it is, with workers added when more are asked for.

    Args:
        settings: given Kafka and Redis addresses are used instead of own servers; `home` is where stacks live.
        name: name of the stack, several can stand side by side.
        workers: number of stream workers.
        only: the parts to start, out of `kafka`, `redis`, `worker`, `api`; None: all.
        say: gets one line per thing worth telling.

    Raises:
        StackError: it cannot be started; what was started is stopped again.
    """
    return bring_up(settings, name, Desired(PARTS if only is None else only, workers), say)


def bring_up(settings: Settings, name: str, desired: Desired, say: Say, commands: Mapping[str, list[str]] = COMMANDS) -> Stack:
    """`up`, with the commands of the workers, the API and the topics as an argument."""
    _check(desired)
    folder = Folder.of(settings, name)
    with locked(folder.lock):
        state = State.read(folder)
        if state is not None and state.running:
            return _join(folder, state, desired, say)
        if state is not None:
            _sweep(state)
        folder.state.unlink(missing_ok=True)
        _check_servers(settings, desired)
        plan = choose(settings, folder, f"freshet-{name}", desired.parts & SERVERS, say)
        api_port = settings.api_port if name == DEFAULT_NAME else 0
        spec = Spec(name, plan, dict(commands), child_environment(_with_models(settings, folder)), api_port)
        write_json(folder.spec, spec.as_json())
        desired.write(folder)
        state = _start_supervisor(folder, settings.secrets())
        say(f"freshet: {state.summary}{f', API {state.api}' if state.api else ''}; logs in {folder.logs}")
        return _stack(folder, state)


def _check(desired: Desired) -> None:
    if unknown := sorted(desired.parts - PARTS):
        raise StackError(f"unknown part {unknown[0]!r}: use {', '.join(sorted(PARTS))}")
    if not desired.parts:
        raise StackError(f"nothing to start: name at least one of {', '.join(sorted(PARTS))}")
    if "worker" in desired.parts and desired.workers < 1:
        raise StackError(f"workers={desired.workers}: use 1 or more, or leave `worker` out")


def _check_servers(settings: Settings, desired: Desired) -> None:
    """Workers and the API need both servers: started here, or given."""
    missing = [name for name in sorted(SERVERS - desired.parts) if getattr(settings, name) is None]
    if missing and desired.parts - SERVERS:
        raise StackError(f"a worker or API needs {missing[0]}: start it too, or set FRESHET_{missing[0].upper()}")


def _start_supervisor(folder: Folder, secrets: Mapping[str, str]) -> State:
    command = [sys.executable, "-m", "ops.stack.supervisor", str(folder.path)]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))}
    supervisor = start_detached(command, folder.logs / "supervisor.log", environment | {"PYTHONSAFEPATH": "1"} | dict(secrets))
    try:
        return _await_ready(folder, supervisor)
    except BaseException:  # Ctrl-C too: what was started must not stay
        _end(supervisor)
        raise


def _await_ready(folder: Folder, supervisor: ProcessId) -> State:
    while True:
        alive = supervisor.alive()  # asked before the report is read, so that a last report is never missed
        state = State.read(folder)
        if state is not None and state.phase == READY:
            return state
        if not alive:
            if state is not None and state.phase == FAILED:
                raise StackError(str(state.error))
            log = folder.logs / "supervisor.log"
            raise StackError(f"the supervisor stopped; the last lines of {log}:\n{tail(log)}")
        time.sleep(0.03)


def _join(folder: Folder, state: State, asked: Desired, say: Say) -> Stack:
    """Return the running stack, after adding what was asked for beyond what it runs."""
    running = Desired.read(folder)
    if new := sorted((asked.parts - running.parts) & SERVERS):
        raise StackError(f"stack {state.name!r} runs without {new[0]}: `freshet down --name {state.name}` first")
    desired = running.joined(asked)
    if (desired.parts, desired.worker_count) == (running.parts, running.worker_count):
        state = _await_ready(folder, state.supervisor)
        say(f"freshet: already up: {state.summary}{f', API {state.api}' if state.api else ''}; logs in {folder.logs}")
        return _stack(folder, state)
    desired.write(folder)
    state.supervisor.signal(signal.SIGHUP)
    state = _await_parts(folder, desired, state.supervisor)
    say(f"freshet: stack {state.name!r} now runs {desired.worker_count} worker(s){', API ' + state.api if state.api else ''}")
    return _stack(folder, state)


def _await_parts(folder: Folder, desired: Desired, supervisor: ProcessId) -> State:
    wanted = desired.worker_count + ("api" in desired.parts)
    while True:
        state = _await_ready(folder, supervisor)
        if state.error:
            raise StackError(state.error)
        clients = [part for part in state.parts if part.kind not in SERVERS]
        failing = [part for part in clients if not part.ready and part.deaths >= MOST_DEATHS]
        if failing:
            log = Path(failing[0].log)
            raise StackError(f"{failing[0].name} keeps dying; the last lines of {log}:\n{tail(log)}")
        if len(clients) == wanted and all(part.ready for part in clients):
            return state
        time.sleep(0.1)


def _stack(folder: Folder, state: State) -> Stack:
    return Stack(state.name, state.kafka or "", state.redis or "", state.api, state.mode, folder.path)


def down(settings: Settings, name: str = DEFAULT_NAME, keep: bool = False, say: Say = print) -> None:
    """Stop a stack and remove its folder; `keep` leaves the data of Kafka and Redis, so that the next `up` goes on.

    Also clears up after a stack whose supervisor is dead. A stack that is not up is fine: it says so.

    Raises:
        StackError: the name is not one, or containers cannot be removed.
    """
    folder = Folder.of(settings, name)
    before = State.read(folder)
    if before is not None:
        _end(before.supervisor)  # before the lock, so that it also ends an `up` that still waits
    with locked(folder.lock):
        state = State.read(folder) or before
        if state is not None:
            _end(state.supervisor)
            _sweep(state)
        _remove(folder, keep)
    was_up = before is not None and before.phase == READY
    say(f"freshet: stack {name!r} {'is down' if was_up else 'was not up'}{', its data kept' if was_up and keep else ''}")


def _end(supervisor: ProcessId) -> None:
    """Stop a supervisor, which stops everything else; by force when it does not in time."""
    supervisor.signal(signal.SIGTERM)
    if not wait_until(lambda: not supervisor.alive(), STOP_SECONDS):
        supervisor.signal(signal.SIGKILL)
        wait_until(lambda: not supervisor.alive(), 5)


def _sweep(state: State) -> None:
    """Kill what a dead supervisor may have left (only where the kernel does not), told apart from reused pids."""
    for part in state.parts:
        part.identity.signal(signal.SIGKILL)
    wait_until(lambda: not any(part.identity.alive() for part in state.parts), 5)


def _remove(folder: Folder, keep: bool) -> None:
    if keep:
        folder.state.unlink(missing_ok=True)
        folder.desired.unlink(missing_ok=True)
        return
    spec = read_json(folder.spec)  # kept by `keep`: it knows of containers
    if spec and spec["plan"]["project"]:
        Compose(spec["plan"]["project"], folder).remove()
    shutil.rmtree(folder.path, ignore_errors=True)


def status(settings: Settings, name: str = DEFAULT_NAME) -> dict[str, Any]:
    """What runs where: `{"name", "kafka", "redis", "api", "workers": [{"pid", "lag", "learner"}], "mode"}`.

    `lag` is the number of events that a worker has not applied yet, None when unknown; `learner` what the learner says, at the one
    worker that runs it, None elsewhere. When no stack of that name is up
    but both servers are given in the settings, these and the workers that report there are what is told.

    Raises:
        StackError: no stack of that name is up.
    """
    state = _running(settings, name)
    if state is None:
        if not (settings.kafka and settings.redis):
            raise StackError(f"no stack {name!r} is up: run `freshet up --name {name}`")
        beats = heartbeats(settings.redis)
        workers = [_worker(pid, beat) for pid, beat in sorted(beats.items())]
        return _status(name, settings.kafka, settings.redis, None, workers, EXTERNAL)
    beats = heartbeats(state.redis) if state.redis else {}
    pids = [part.pid for part in state.parts if part.kind == "worker" and part.identity.alive()]
    workers = [_worker(pid, beats.get(pid)) for pid in pids]
    return _status(name, state.kafka, state.redis, state.api, workers, state.mode)


def _worker(pid: int, beat: Mapping[str, Any] | None) -> dict[str, Any]:
    return {"pid": pid, "lag": lag_of(beat), "learner": learner_of(beat)}


def _status(
    name: str, kafka: str | None, redis: str | None, api: str | None, workers: list[dict[str, Any]], mode: str
) -> dict[str, Any]:
    return {"name": name, "kafka": kafka, "redis": redis, "api": api, "workers": workers, "mode": mode}


def resolve(settings: Settings, name: str = DEFAULT_NAME) -> Settings:
    """The settings with Kafka, Redis and the models' folder filled in: their own, else those of the running stack of that name.

    Raises:
        StackError: one is missing and no such stack runs.
    """
    settings = _with_models(settings, Folder.of(settings, name))
    if settings.kafka and settings.redis:
        return settings
    state = _running(settings, name)
    kafka = settings.kafka or (state.kafka if state else None)
    redis = settings.redis or (state.redis if state else None)
    if not (kafka and redis):
        raise StackError(
            f"no Kafka and Redis to use: run `freshet up{'' if name == DEFAULT_NAME else f' --name {name}'}`, "
            "or set FRESHET_KAFKA and FRESHET_REDIS"
        )
    return settings.model_copy(update={"kafka": kafka, "redis": redis})


def _with_models(settings: Settings, folder: Folder) -> Settings:
    return settings if settings.models else settings.model_copy(update={"models": folder.models})


def _running(settings: Settings, name: str) -> State | None:
    state = State.read(Folder.of(settings, name))
    return state if state is not None and state.running else None
