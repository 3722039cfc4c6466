"""Counters and histograms that several processes add up in, in the files of prometheus_client's multiprocess mode.

A file belongs to a place in the group and not to a process: who replaces one that died goes on counting where it stood, so that no
counter ever falls. Gauges are not shared: they say what the process that answers sees.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterable
from pathlib import Path
from threading import Lock
from typing import Any, Final

from prometheus_client import CollectorRegistry, values
from prometheus_client.metrics_core import Metric
from prometheus_client.mmap_dict import MmapedDict, mmap_key
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector

_PREFIX: Final = "freshet-api-"
_LOCK: Final = "lock"


def claimed_folder() -> Path:
    """A new folder for these files. Those of processes that are all gone, however they ended, are removed.

    It is held by a lock that lasts as long as the process that asked for it or any that was forked from it.
    """
    for other in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*"):
        if _is_left(other):
            shutil.rmtree(other, ignore_errors=True)
    folder = Path(tempfile.mkdtemp(prefix="freshet-new-"))
    fcntl.flock(os.open(folder / _LOCK, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC), fcntl.LOCK_EX)
    # Named only now: others must never find it without its lock.
    return folder.rename(folder.with_name(folder.name.replace("freshet-new-", _PREFIX)))


def _is_left(folder: Path) -> bool:
    try:
        file = os.open(folder / _LOCK, os.O_RDWR | os.O_CLOEXEC)
    except OSError:  # not ours, or made just now
        return False
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    finally:
        os.close(file)
    return True


def share_counts(folder: Path, number: int) -> None:
    """Have this process count in the folder. Only instruments that are made from now on do.

    Args:
        number: of its place; no two processes have the same at the same time.
    """
    names = {kind: str(folder / f"{kind}_{number}.db") for kind in ("counter", "histogram")}
    files = {kind: MmapedDict(name) for kind, name in names.items()}  # type: ignore[no-untyped-call]
    lock = Lock()

    def value(kind: str, *names: Any, **options: Any) -> Any:
        if kind in files:
            return _SharedValue(files[kind], mmap_key(*names), lock)
        return values.MutexValue(kind, *names, **options)  # type: ignore[no-untyped-call]

    values.ValueClass = value


class _SharedValue:
    """One number of a file; what prometheus_client asks of its values."""

    def __init__(self, file: MmapedDict, key: str, lock: Lock) -> None:
        self._file = file
        self._key = key
        self._lock = lock
        self._value: float = file.read_value(key)[0]  # type: ignore[no-untyped-call]

    def inc(self, amount: float) -> None:
        with self._lock:
            self._value += amount
            self._file.write_value(self._key, self._value, 0.0)  # type: ignore[no-untyped-call]

    def set(self, value: float, timestamp: float | None = None) -> None:
        with self._lock:
            self._value = value
            self._file.write_value(self._key, value, timestamp or 0.0)  # type: ignore[no-untyped-call]

    def get(self) -> float:
        return self._value

    def set_exemplar(self, exemplar: Any) -> None:
        """There are none."""

    def get_exemplar(self) -> None:
        """There are none."""


class Together(Collector):
    """What all processes have counted, and the gauges of this one."""

    def __init__(self, folder: Path, own: CollectorRegistry) -> None:
        self._folder = folder
        self._own = own

    def collect(self) -> Iterable[Metric]:
        """Every metric."""
        yield from (metric for metric in self._own.collect() if metric.type == "gauge")
        yield from MultiProcessCollector.merge([str(file) for file in self._folder.glob("*.db")])  # type: ignore[no-untyped-call]
