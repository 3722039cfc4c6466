"""Child processes of a stack: started so that they die with their parent, stopped in order, their logs read back."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import psutil

LOG_LINES = 15
LAUNCH = [sys.executable, "-I", "-S", str(Path(__file__).with_name("launch.py"))]

# "Dies with its parent" means the parent THREAD to the kernel, so every child is started by one thread that lives as
# long as this process does; otherwise a server started in a short-lived thread would be killed when that thread ends.
_LAUNCHER = ThreadPoolExecutor(max_workers=1, thread_name_prefix="freshet-launcher")

Say = Callable[[str], None]


@dataclass(frozen=True)
class ProcessId:
    """A pid and when that process was created (seconds since the epoch): pids get reused, the pair does not."""

    pid: int
    created: float

    @classmethod
    def of(cls, pid: int) -> ProcessId:
        """The identity of a living process; of a dead one an identity that is never alive."""
        try:
            return cls(pid, psutil.Process(pid).create_time())
        except psutil.NoSuchProcess:
            return cls(pid, 0.0)

    def alive(self) -> bool:
        """Whether that very process still runs; a zombie does not. Two seconds are allowed for clock corrections."""
        try:
            process = psutil.Process(self.pid)
            return abs(process.create_time() - self.created) < 2 and process.status() != psutil.STATUS_ZOMBIE
        except psutil.Error:  # gone, or somebody else's
            return False

    def signal(self, number: signal.Signals) -> None:
        """Send a signal if that very process still runs."""
        if self.alive():
            try:
                os.kill(self.pid, number)
            except ProcessLookupError:
                return  # it ended between the check and the signal, which is what the signal was for


@dataclass
class Child:
    """A running command that this process owns."""

    process: subprocess.Popen[bytes]
    identity: ProcessId

    @property
    def pid(self) -> int:
        """Its process id."""
        return self.process.pid

    def alive(self) -> bool:
        """Whether it still runs; collects the exit code when not."""
        return self.process.poll() is None


def start(command: Sequence[str], log: Path, folder: Path | None, environment: Mapping[str, str] | None = None) -> Child:
    """Start a command whose output goes to the end of `log`; it is killed when this process dies (Linux).

    It runs in `folder`, or where this process runs.
    """
    log.parent.mkdir(parents=True, exist_ok=True)

    def launch() -> subprocess.Popen[bytes]:
        with log.open("ab") as output:
            return subprocess.Popen(
                [*LAUNCH, "with-parent", str(os.getpid()), *command],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                cwd=folder,
                env=None if environment is None else dict(environment),
                start_new_session=True,  # Ctrl-C in the terminal is for the owner, who stops children in order
            )

    process = _LAUNCHER.submit(launch).result()
    return Child(process, ProcessId.of(process.pid))


def start_detached(command: Sequence[str], log: Path, environment: Mapping[str, str]) -> ProcessId:
    """Start a command that outlives this process, in its own session; its output goes to the end of `log`."""
    log.parent.mkdir(parents=True, exist_ok=True)
    with subprocess.Popen(
        [*LAUNCH, "detached", str(log), *command],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        env=dict(environment),
    ) as launcher:
        assert launcher.stdout is not None  # noqa: S101 (PIPE above)
        return ProcessId.of(int(launcher.stdout.readline()))


def stop(children: Iterable[Child], grace: float, kill: bool = False) -> None:
    """Stop children together: SIGTERM, then after `grace` seconds SIGKILL (`kill`: SIGKILL at once); returns when they are gone."""
    running = [child for child in children if child.alive()]
    for child in running:
        child.process.send_signal(signal.SIGKILL if kill else signal.SIGTERM)
    wait_until(lambda: not any(child.alive() for child in running), grace)
    for child in running:
        if child.alive():
            child.process.kill()
        child.process.wait()


def wait_until(condition: Callable[[], bool], seconds: float, pause: float = 0.02) -> bool:
    """Whether the condition came true within that time."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(pause)
    return True


def tail(log: Path, lines: int = LOG_LINES) -> str:
    """The last lines of a log, indented for an error message; says so when there are none."""
    try:
        with log.open("rb") as file:
            file.seek(max(0, log.stat().st_size - 32_768))
            text = file.read().decode(errors="replace").splitlines()[-lines:]
    except FileNotFoundError:
        text = []
    return "\n".join(f"    {line}" for line in text) or "    (nothing was logged)"
