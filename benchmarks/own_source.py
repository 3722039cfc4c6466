"""What a product team's own candidate source costs the API, in processor time: asked by HTTP, called in Python; beside httpx."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from time import process_time
from typing import Any, Final

import httpx

from benchmarks.row import Row
from serving.candidates.answer import Question, items_of, question_of
from serving.candidates.own import Fetches, Guarded
from serving.candidates.own_http import HttpSource
from serving.candidates.own_python import PythonSource
from serving.metrics import Metrics
from serving.plan import Plan
from serving.query import RecommendationQuery
from serving.surface_sources import OwnSource

EXAMPLE: Final = Path(__file__).resolve().parents[1] / "examples" / "own_source.py"
QUESTIONS, ROUNDS = 50, 10
IDS: Final = [str(n) for n in range(100)]
BASELINE: Final = "httpx alone"


def run() -> list[Row]:
    """One question after the other over one connection to the example's server, which is a process of its own."""
    with TemporaryDirectory() as folder:
        picks = Path(folder) / "picks.txt"
        picks.write_text("\n".join(IDS), encoding="utf-8")
        started = [sys.executable, str(EXAMPLE), "0", str(picks)]
        with subprocess.Popen(started, stdout=subprocess.PIPE, text=True) as server:
            try:
                url = server.stdout.readline().split()[-1] if server.stdout else ""
                return asyncio.run(_measured(url))
            finally:
                server.terminate()


async def _measured(url: str) -> list[Row]:
    question = question_of(RecommendationQuery(user_id="42", k=10), Plan(10), len(IDS))
    by_http, in_python, bare = HttpSource(url), PythonSource(lambda _: IDS), httpx.AsyncClient(trust_env=False)
    try:
        floor = await _least(lambda: _asked_by_httpx(bare, url, question))
        return [
            Row("own_source/http", cost := await _least(_guarded(by_http, question)), "ms", BASELINE, cost / floor),
            Row("own_source/python", cost := await _least(_guarded(in_python, question)), "ms", BASELINE, cost / floor),
            Row(f"own_source/{BASELINE}", floor, "ms"),
        ]
    finally:
        await by_http.close()
        await bare.aclose()


def _guarded(source: Fetches, question: Question) -> Callable[[], Awaitable[Any]]:
    guarded = Guarded("editors", OwnSource(url="http://localhost/", timeout_ms=1000), source, Metrics())

    async def asked() -> None:
        answer = await guarded.answer(question)
        if answer.failure is not None:
            raise RuntimeError(f"the source failed: {answer.failure}")

    return asked


async def _asked_by_httpx(client: httpx.AsyncClient, url: str, question: Question) -> None:
    items_of((await client.post(url, json=question)).json(), len(IDS))


async def _least(ask: Callable[[], Awaitable[Any]]) -> float:
    """Milliseconds of processor time of this process per question, the least of the rounds."""
    spent = []
    for _ in range(ROUNDS):
        started = process_time()
        for _ in range(QUESTIONS):
            await ask()
        spent.append((process_time() - started) / QUESTIONS * 1000)
    return min(spent)
