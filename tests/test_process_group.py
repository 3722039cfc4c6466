"""Processes kept running: how soon one comes after another that died, and how they end."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from serving.process_group import pause_after

GROUP = """
import os, signal, sys, time
from serving.process_group import ProcessGroup

def dies(_):
    print("started", flush=True)

def stays(lifeline):
    signal.signal(signal.SIGTERM, lambda *_: print("told", flush=True))
    print("started", flush=True)
    while True:
        time.sleep(0.05)

def follows(lifeline):
    print("started", flush=True)
    os.read(lifeline, 1)
    print("left alone", flush=True)

body = {"dies": dies, "stays": stays, "follows": follows}[sys.argv[1]]
ProcessGroup({"member": body}, gone=lambda name: None).run(stopping=lambda: print("stopping", flush=True))
print("over", flush=True)
"""


@contextmanager
def group(body: str) -> Iterator[subprocess.Popen[str]]:
    with subprocess.Popen(
        [sys.executable, "-c", GROUP, body], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as first:
        try:
            assert_line(first, "started")
            yield first
        finally:
            first.kill()


def assert_line(process: subprocess.Popen[str], wanted: str) -> None:
    assert process.stdout is not None
    assert process.stdout.readline().strip() == wanted


def test_whoever_dies_again_and_again_is_given_time() -> None:
    assert [pause_after(deaths) for deaths in (0, 1, 2, 5, 50)] == [0.0, 0.0, 0.2, 1.6, 5.0]
    with group("dies") as first:
        time.sleep(1.2)
        first.send_signal(signal.SIGTERM)
        told, _ = first.communicate(timeout=10)
    assert 1 <= told.count("started") <= 4, "it began at 0 s, 0.2 s, 0.6 s and not a thousand times"
    assert told.splitlines()[-2:] == ["stopping", "over"]
    assert first.returncode == 0


@pytest.mark.parametrize("second", [signal.SIGTERM, signal.SIGINT])
def test_a_second_signal_ends_who_does_not_end(second: signal.Signals) -> None:
    with group("stays") as first:
        first.send_signal(signal.SIGTERM)
        assert_line(first, "stopping")
        assert_line(first, "told")
        first.send_signal(second)
        assert_line(first, "over")
        assert first.wait(5) == 0


def test_a_member_knows_when_the_first_process_is_gone() -> None:
    with group("follows") as first:
        first.kill()
        assert_line(first, "left alone")
