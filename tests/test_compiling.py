"""The models' kernels: compiled apart the first time, and never in the way of anything else."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import threading
from pathlib import Path

import psutil
import pytest

from stream_workers import compiling
from stream_workers.models.online.settings import BankSettings
from tests.live import wait_until


@pytest.fixture
def compiled_here(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[BankSettings]:
    """What was compiled in this process; marks go to a folder that is not there yet."""
    done: list[BankSettings] = []
    monkeypatch.setattr(compiling, "compile_models", done.append)
    monkeypatch.setattr(compiling.numba.config, "CACHE_DIR", str(tmp_path / "cache"))
    return done


def child(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, body: str) -> Path:
    """The compiling process is this instead; it leaves its pid in the file that is returned."""
    script, pid = tmp_path / "python", tmp_path / "pid"
    script.write_text(f"#!/bin/sh\necho $$ >> {pid}\n{body}\n")
    script.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(script))
    return pid


async def test_the_first_time_another_process_compiles_and_later_none(
    compiled_here: list[BankSettings], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    pids = child(monkeypatch, tmp_path, "exit 0")
    for _ in range(2):
        await compiling.compile_models_apart(BankSettings())
    assert len(pids.read_text().split()) == 1
    assert len(compiled_here) == 2, "here it is only taken from the cache"


async def test_what_could_not_be_compiled_apart_is_not_compiled_here(
    compiled_here: list[BankSettings], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    pids = child(monkeypatch, tmp_path, "exit 3")
    for _ in range(2):
        with pytest.raises(RuntimeError, match="status 3"):
            await compiling.compile_models_apart(BankSettings())
    assert (len(pids.read_text().split()), compiled_here) == (2, [])


async def test_a_worker_that_stops_ends_the_process_that_compiles(
    compiled_here: list[BankSettings], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    pids = child(monkeypatch, tmp_path, "exec sleep 60")
    task = asyncio.create_task(compiling.compile_models_apart(BankSettings()))
    async with asyncio.timeout(10):
        while not pids.exists() or not pids.read_text().strip():  # noqa: ASYNC110 - another process writes it
            await asyncio.sleep(0.01)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert not psutil.pid_exists(int(pids.read_text()))
    assert compiled_here == []


def test_a_worker_that_is_killed_leaves_no_process_behind_that_compiles(tmp_path: Path) -> None:
    body = "import asyncio; from stream_workers.compiling import _run_apart; asyncio.run(_run_apart())"
    worker = subprocess.Popen([sys.executable, "-c", body], env=os.environ | {"NUMBA_CACHE_DIR": str(tmp_path)})
    try:
        wait_until(lambda: any(tmp_path.glob("*.lock")), 30, "the compiling to begin")
        (compiler,) = psutil.Process(worker.pid).children()
    finally:
        worker.kill()
        worker.wait()
    compiler.wait(20)
    assert not list(tmp_path.glob("compiled-*"))


def test_workers_that_start_together_compile_once(compiled_here: list[BankSettings]) -> None:
    told: list[str] = []
    together = [threading.Thread(target=compiling.compile_ahead, args=(told.append,)) for _ in range(4)]
    for thread in together:
        thread.start()
    for thread in together:
        thread.join()
    assert (len(compiled_here), len(told)) == (1, 1)


def test_another_source_or_version_has_another_mark(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(compiling, "_SOURCES", tmp_path)
    (tmp_path / "model.py").write_text("1")
    marks = {compiling._mark()}
    (tmp_path / "model.py").write_text("12")
    marks.add(compiling._mark())
    monkeypatch.setattr(compiling.numba, "__version__", "another")
    marks.add(compiling._mark())
    assert len(marks) == 3


def test_nothing_is_left_to_compile_when_a_request_comes() -> None:
    """The API asks with kernels of its own; compiled only then, they would hold every request up for half a minute."""
    program = (
        "import numpy as np\n"
        "from stream_workers.models import scoring_bank\n"
        "from stream_workers.models.online import searching, standing\n"
        "from stream_workers.models.online.settings import BankSettings\n"
        "from stream_workers.warm_up import NOBODY, compile_models\n"
        "compile_models(BankSettings())\n"
        "kernels = searching.search_candidates, searching.search_pool, searching.score_found, standing.stand\n"
        "compiled = [list(kernel.signatures) for kernel in kernels]\n"
        "bank = scoring_bank.ScoringBank()\n"
        "bank.items.codes(['a', 'b'])\n"
        "for said in (None, np.zeros((1, 2), np.float32), scoring_bank._SaysNothing()):\n"
        "    bank.scores(['a'], NOBODY, 0, said=said)\n"
        "print(*map(len, compiled), compiled == [kernel.signatures for kernel in kernels])\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["1", "1", "1", "1", "True"]
