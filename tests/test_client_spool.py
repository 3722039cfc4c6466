"""What the event buffers' file holds, whatever becomes of the program and of the disk."""

from __future__ import annotations

import logging
import time
from pathlib import Path
from typing import Any

import pytest

from freshet_client import BufferOptions, SpoolInUse
from freshet_client.answers import Intake, RejectedEvent
from freshet_client.outbox import Outbox
from freshet_client.spool import REWRITE_BYTES, Line, Spool
from schemas.settings import Settings
from tests.test_client_outbox import event, flying, outbox, refused

HOUR_MS = 3_600_000


def test_what_was_not_settled_comes_again_after_a_crash(tmp_path: Path) -> None:
    before = outbox("a", "b", "c", "d", spool=tmp_path / "spool.jsonl", batch=2)
    flying(before)
    before.note(Intake(accepted=1, rejected=(RejectedEvent(index=1, reason="invalid"),)), 0.0)
    flying(before)
    _crash(before)
    after = outbox(spool=tmp_path / "spool.jsonl")
    assert after.due_in(100.0, urgent=False) == 0.0
    assert flying(after) == ["c", "d"]


def test_an_event_stays_byte_for_byte_what_it_was(tmp_path: Path) -> None:
    odd = event("ü\n", timestamp="2026-01-01T10:00:00Z", context={"π": 3.5, "q": '"', "n": 10**30, "b": True})
    box = Outbox(BufferOptions(spool=tmp_path / "s"))
    box.add(odd, 0.0)
    _crash(box)
    assert Outbox(BufferOptions(spool=tmp_path / "s")).take() == [odd.encoded()]


@pytest.mark.parametrize("torn", [b'{"at":17', b'{"at":1,"event":{}}', b"\xff\xfe", b"7\n", b"null\n", b"\n\n", b'{"settled":7}\n'])
def test_a_torn_line_harms_no_other(tmp_path: Path, torn: bytes, caplog: pytest.LogCaptureFixture) -> None:
    box = outbox("a", spool=tmp_path / "s")
    _crash(box)
    with (tmp_path / "s").open("ab") as file:
        file.write(torn)
    again = outbox("b", spool=tmp_path / "s")
    _crash(again)
    assert flying(outbox(spool=tmp_path / "s")) == ["a", "b"]
    assert ("cannot be read" in caplog.text) == bool(torn.strip())


def test_a_full_disk_costs_only_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    import os

    box, real = outbox("a", spool=tmp_path / "s"), os.write
    room = iter([5])

    def full(file: int, text: Any) -> int:
        for size in room:
            return real(file, bytes(text)[:size])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "write", full)
    box.add(event("b"), 0.0)
    box.add(event("c"), 0.0)
    monkeypatch.setattr(os, "write", real)
    box.add(event("d"), 0.0)
    assert caplog.text.count("No space left") == 1
    assert flying(box) == ["a", "b", "c", "d"]
    _crash(box)
    assert flying(outbox(spool=tmp_path / "s")) == ["a", "d"]


def test_the_file_is_empty_when_nothing_waits_and_shrinks_under_load(tmp_path: Path) -> None:
    path = tmp_path / "s"
    box = outbox("a", spool=path)
    flying(box)
    box.note(Intake(accepted=1), 0.0)
    assert path.stat().st_size == 0
    filling = {"x": "y" * 50_000}
    for n in range(300):  # never empty: 15 MB pass through
        box.add(event(f"{n}", context=filling), 0.0)
        if n % 2:
            box.note(Intake(accepted=len(box.take())), 0.0)
            box.add(event(f"{n}-stays", context=filling), 0.0)
    assert path.stat().st_size < REWRITE_BYTES + 20 * 50_000
    left = len(box)
    _crash(box)
    assert len(outbox(spool=path)) == left > 0


def test_a_file_that_cannot_be_shortened_stays_as_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    import os

    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    box = outbox(spool=tmp_path / "s", batch=1)
    box.add(event("large", context={"x": "y" * REWRITE_BYTES}), 0.0)
    box.add(event("small"), 0.0)
    monkeypatch.setattr(os, "fsync", full)
    assert flying(box) == ["large"]
    box.note(Intake(accepted=1), 0.0)
    assert len(box) == 1
    assert "stays as long as it is" in caplog.text
    monkeypatch.undo()
    _crash(box)
    assert flying(outbox(spool=tmp_path / "s")) == ["small"]


def test_two_buffers_cannot_share_a_file(tmp_path: Path) -> None:
    first = outbox("a", spool=tmp_path / "s")
    with pytest.raises(SpoolInUse, match="file of its own"):
        outbox(spool=tmp_path / "s")
    first.close()
    assert len(outbox(spool=tmp_path / "s")) == 1


def test_what_is_too_old_for_the_api_to_know_its_id_is_reported(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "s", fsync=True)
    now = time.time_ns() // 1_000_000
    for name, age in (("old", 25 * HOUR_MS), ("new", 23 * HOUR_MS)):
        spool.add(Line(name, now - age, event(name).encoded()))
    spool.close()
    box = outbox(spool=tmp_path / "s")
    assert flying(box) == ["new"]
    assert refused(box) == [("old", "too_old")]
    assert BufferOptions().keep_hours < Settings().dedupe_hours


def test_without_a_file_the_rest_is_reported_at_the_end(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    box = outbox("a", "b")
    flying(box)
    box.add(event("c"), 0.0)
    box.close()
    assert refused(box) == [("a", "unsent"), ("b", "unsent"), ("c", "unsent")]
    with_file = outbox("a", spool=tmp_path / "s")
    with caplog.at_level(logging.WARNING):
        with_file.close()
    assert refused(with_file) == []
    assert "1 events were not sent; they wait in" in caplog.text


def _crash(box: Outbox) -> None:
    """What `kill -9` does: the locks and files are let go of, nothing is written."""
    assert box._spool is not None
    box._spool.close()
