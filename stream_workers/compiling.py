"""Has the models' kernels ready without holding up ingestion.

Compiling them for the first time takes minutes, in which a process can do little else: numba holds the interpreter. So a process of
its own does that, at a low priority, and leaves the machine code in numba's cache on disk, from where this process then takes it in
seconds. A mark in the cache's folder says that it is there: its name is a hash of everything that the machine code depends on.
Without the mark what is cached is thrown away, because numba itself notices a change of a kernel, but not of the kernels it calls.

`python -m stream_workers.compiling` does it beforehand; once done, that takes a second.
"""

from __future__ import annotations

import asyncio
import fcntl
import logging
import os
import platform
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from hashlib import blake2b
from pathlib import Path
from typing import Final

import numba
from llvmlite import binding  # type: ignore[import-untyped]

from stream_workers.models.online.settings import BankSettings
from stream_workers.warm_up import compile_models

log = logging.getLogger(__name__)
_SOURCES: Final = Path(__file__).parent / "models" / "online"
_NICENESS: Final = 10
_WITH_PARENT: Final = "--with-parent"


def models_compiled() -> bool:
    """Whether the models' kernels can be called without compiling."""
    return _mark().exists()


async def compile_models_apart(numbers: BankSettings) -> None:
    """Returns when the models' kernels can be called without compiling; other tasks go on meanwhile.

    Raises:
        RuntimeError: the process that compiles failed; its reason is on stderr.
    """
    if not models_compiled():
        log.info("compiling the models for the first time; learning begins in a few minutes")
        await _run_apart()
    await asyncio.to_thread(compile_models, numbers)
    await asyncio.to_thread(_leave_mark)


async def _run_apart() -> None:
    child = await asyncio.create_subprocess_exec(
        sys.executable, "-m", __name__, _WITH_PARENT, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.DEVNULL
    )
    try:
        if await child.wait():
            raise RuntimeError(f"compiling the models failed with status {child.returncode}")
    except asyncio.CancelledError:
        child.kill()
        await child.wait()
        raise


def _mark() -> Path:
    digest = blake2b(digest_size=12)
    for part in (numba.__version__, platform.python_version(), binding.get_host_cpu_name()):
        digest.update(part.encode())
    for source in sorted(_SOURCES.rglob("*.py")):
        # numba itself looks at the time of the last change.
        digest.update(f"{source.name}:{source.stat().st_mtime_ns}:{source.stat().st_size};".encode())
    return Path(numba.config.CACHE_DIR or _SOURCES / "__pycache__") / f"compiled-{digest.hexdigest()}"


def _leave_mark() -> None:
    mark = _mark()
    try:
        mark.parent.mkdir(parents=True, exist_ok=True)
        mark.touch()
        for other in set(mark.parent.glob("compiled-*")) - {mark}:
            other.unlink(missing_ok=True)
    except OSError as error:  # numba then has its cache elsewhere, and the next start asks it
        log.debug("no mark in %s: %s", mark.parent, error)


def _forget_stale() -> None:
    folders = Path(numba.config.CACHE_DIR).glob("online_*") if numba.config.CACHE_DIR else [_SOURCES / "__pycache__"]
    for stale in (file for folder in folders for file in folder.glob("*.nb[ic]")):
        stale.unlink(missing_ok=True)


def compile_ahead(say: Callable[[str], None]) -> None:
    """Compile here and now what is not compiled yet; `say` is told if that takes long."""
    if _mark().exists():
        return
    with _only_one():
        if _mark().exists():  # somebody else did it while we waited
            return
        say("compiling the models' kernels (a minute or two, once)")
        _forget_stale()
        compile_models(BankSettings())
        _leave_mark()


@contextmanager
def _only_one() -> Iterator[None]:
    """Workers that start together compile once. The lock goes with the process that holds it, however that ends."""
    folder = _mark().parent
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = (folder / "compiling.lock").open("w")
    except OSError as error:  # a folder that cannot be written: everybody compiles for themselves
        log.debug("no lock in %s: %s", folder, error)
        yield
        return
    with lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _end_with_parent() -> None:
    """End when the other end of stdin is gone: a parent that was killed cannot end us, and what we compile nobody waits for."""
    sys.stdin.buffer.read()
    os._exit(1)


def _tell(text: str) -> None:
    print(f"freshet: {text}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    os.nice(_NICENESS)
    if _WITH_PARENT in sys.argv:
        threading.Thread(target=_end_with_parent, daemon=True).start()
    compile_ahead(_tell)
