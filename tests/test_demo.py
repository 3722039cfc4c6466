"""`freshet demo` as a person runs it: three clicks change the list within milliseconds, and no process stays behind."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import psutil
import pytest

from ops.datasets import open_source
from ops.demo_download import DownloadFailed, fetch_movietweetings
from ops.demo_events import choose_events
from ops.demo_page import Page
from ops.demo_stack import Stopped, only_one_demo, stoppable
from schemas.errors import InvalidInput, StackError
from schemas.settings import Settings

ROOT = Path(__file__).parents[1]
CLICK = re.compile(r"click +(.+?): in Kafka after (\d+) ms, in the recommendations after (\d+) ms;", re.DOTALL)
PLACE = re.compile(r"^ *\d+ .* (?:new|↑\d+|↓\d+|=) +\S", re.MULTILINE)


def _environment(home: Path, data: Path | None = None) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("FRESHET_") and name not in {"FORCE_COLOR"}}
    cache = os.environ.get("FRESHET_CACHE") or str(Path("~/.freshet/cache").expanduser())
    stack = {name: os.environ[name] for name in ("FRESHET_STACK",) if name in os.environ}
    given = {"FRESHET_HOME": str(home), "FRESHET_CACHE": cache, "COLUMNS": "140"} | stack
    return kept | given | ({"FRESHET_DATA": str(data)} if data else {})


def _start(home: Path, *arguments: str, data: Path | None = None) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "ops.cli", "demo", *arguments]
    return subprocess.Popen(
        command, cwd=ROOT, env=_environment(home, data), text=True, encoding="utf-8", start_new_session=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip


def _left(home: Path) -> list[list[str]]:
    """Command lines of the processes that belong to stacks below that folder."""
    found = []
    for process in psutil.process_iter():
        try:
            if str(home) in " ".join(process.cmdline()) or process.environ().get("FRESHET_HOME") == str(home):
                found.append(process.cmdline())
        except psutil.Error:
            continue
    return found


def _read_until(process: subprocess.Popen[str], text: str) -> str:
    assert process.stdout is not None
    said = ""
    for line in process.stdout:
        said += line
        if text in line:
            return said
    raise AssertionError(f"it ended without saying {text!r}:\n{said}")


def _check_story(said: str) -> None:
    clicks = CLICK.findall(said)
    assert len(clicks) == 3, said
    assert len({title for title, _, _ in clicks}) == 3
    assert all(0 < int(acknowledged) <= int(visible) < 5000 for _, acknowledged, visible in clicks), clicks
    change = said.partition("The same person, before and after")[2].partition("freshness of this answer")[0]
    assert PLACE.findall(change), change
    assert " new " in change or "↑" in change
    assert "because you" in change
    assert re.search(r"freshness of this answer: newest event 20\S+, age \d+ ms, from event to effect \d+ ms", said)
    assert "who did nothing: the same " in said
    assert re.search(r"http://127\.0\.0\.1:\d+/v1/users/you/recommendations", said)
    assert "\x1b" not in said
    assert "Traceback" not in said


@pytest.mark.integration
@pytest.mark.slow
@pytest.mark.timeout(300)
def test_real_events_change_the_list_and_nothing_is_left(tmp_path: Path, data_folder: Path) -> None:
    process = _start(tmp_path, "--once", data=data_folder)
    said, _ = process.communicate(timeout=180)
    assert process.returncode == 0, said
    _check_story(said)
    assert "(c) 2013 Simon Dooms" in said
    assert "100,000 events and" in said
    assert _left(tmp_path) == []


@pytest.mark.integration
@pytest.mark.slow
@pytest.mark.timeout(300)
def test_a_demo_that_was_killed_is_cleared_away_by_the_next_one(tmp_path: Path) -> None:
    killed = _start(tmp_path, "--source", "synthetic:1000")
    _read_until(killed, "ready after")
    os.killpg(killed.pid, signal.SIGKILL)
    killed.communicate(timeout=30)
    assert _left(tmp_path), "the stack outlives a killed demo"
    process = _start(tmp_path, "--once", "--source", "synthetic:3000")
    said, _ = process.communicate(timeout=180)
    assert process.returncode == 0, said
    assert "up from an earlier run" in said
    _check_story(said)
    assert "made up by Freshet" in said
    assert _left(tmp_path) == []


@pytest.mark.integration
@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    ("number", "moment", "status"),
    [(signal.SIGINT, "starting", 130), (signal.SIGTERM, "ready after", 143), (signal.SIGINT, "stays up until", 0)],
)
def test_a_signal_ends_it_civilly(tmp_path: Path, number: signal.Signals, moment: str, status: int) -> None:
    process = _start(tmp_path, "--source", "synthetic:1000")
    _read_until(process, moment)
    time.sleep(0.5)
    os.killpg(process.pid, number)
    said, _ = process.communicate(timeout=60)
    assert process.returncode == status, said
    assert "nothing is left running" in said
    assert "Traceback" not in said
    assert _left(tmp_path) == []


def test_bad_input_starts_no_server(tmp_path: Path) -> None:
    empty = tmp_path / "none.csv"
    empty.write_text("user,item,timestamp\n")
    for source, complaint in (("nowhere", "no file 'nowhere'"), (str(empty), "none.csv has no events")):
        process = _start(tmp_path, "--once", "--source", source)
        said, _ = process.communicate(timeout=60)
        assert process.returncode == 2, said
        assert complaint in said.splitlines()[-1]
        assert "starting" not in said
    assert _left(tmp_path) == []


def test_a_second_demo_at_the_same_time_is_refused(tmp_path: Path) -> None:
    settings = Settings.from_environment({}, home=tmp_path)
    with only_one_demo(settings), pytest.raises(StackError, match=f"running already .pid {os.getpid()}"), only_one_demo(settings):
        pass
    with only_one_demo(settings):
        pass


def test_signals_end_the_block_but_not_the_stopping() -> None:
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(Stopped) as stopped, stoppable() as stopping:
        stopping.hold = True
        os.kill(os.getpid(), signal.SIGTERM)
        stopping.hold = False
        os.kill(os.getpid(), signal.SIGINT)
    assert stopped.value.name == "Ctrl-C"
    assert signal.getsignal(signal.SIGTERM) is before


def test_a_signal_is_known_also_where_the_interpreter_wraps_it() -> None:
    with pytest.raises(Stopped) as stopped, stoppable():
        try:
            os.kill(os.getpid(), signal.SIGTERM)
        except Stopped as raised:
            raise SystemError("returned a result with an exception set") from raised
    assert stopped.value.number == signal.SIGTERM
    with pytest.raises(SystemError, match="of its own"), stoppable():
        raise SystemError("of its own")


@pytest.fixture
def home_page(tmp_path: Path) -> Iterator[tuple[str, Path]]:
    """A server in place of GitHub: its URL and the folder it serves."""
    served = tmp_path / "served"
    served.mkdir()
    handler = type("Quiet", (SimpleHTTPRequestHandler,), {"log_message": lambda *_: None})
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(handler, directory=str(served))) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}", served
        server.shutdown()


def test_download_keeps_the_newest_ratings_in_time_order(home_page: tuple[str, Path], tmp_path: Path) -> None:
    url, served = home_page
    (served / "latest").mkdir()
    (served / "latest" / "movies.dat").write_text("0000001::Film (1999)::Drama\n")
    (served / "latest" / "ratings.dat").write_text(
        "1::0000001::8::1400000003\nbroken\n2::0000001::7::1400000001\n3::0000001::7::1400000002\n"
    )
    fetch_movietweetings(tmp_path / "cache" / "movietweetings", 2, lambda done, total: None, url)
    source = open_source("movietweetings", tmp_path / "cache")
    assert [event.key for event in source.events()] == ["3", "1"]
    assert [item["title"] for item in source.items()] == ["Film"]
    assert [entry.name for entry in (tmp_path / "cache").iterdir()] == ["movietweetings"]


@pytest.mark.parametrize("ratings", [None, "<html>not what you want</html>"])
def test_a_failed_download_says_why_and_leaves_nothing(home_page: tuple[str, Path], tmp_path: Path, ratings: str | None) -> None:
    url, served = home_page
    if ratings is not None:
        folder = served / "snapshots" / "100K"
        folder.mkdir(parents=True)
        (folder / "movies.dat").write_text("x")
        (folder / "ratings.dat").write_text(ratings)
    with pytest.raises(DownloadFailed, match="404" if ratings is None else "no list of ratings"):
        fetch_movietweetings(tmp_path / "cache" / "movietweetings", 2, lambda done, total: None, url)
    assert not (tmp_path / "cache" / "movietweetings").exists()


def test_without_any_data_the_stream_is_made_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def unreachable(*_: object) -> None:
        raise DownloadFailed("no network")

    monkeypatch.setenv("FRESHET_CACHE", str(tmp_path))
    monkeypatch.setattr("ops.demo_events.fetch_movietweetings", unreachable)
    events = choose_events(Settings.from_environment({}, data=tmp_path / "nothing"), None, Page())
    said = capsys.readouterr().out
    assert "made-up" in events.origin
    assert "no network" in said and "has no movietweetings/ratings.dat" in said


def test_a_named_source_wins_over_the_data_folder(tmp_path: Path) -> None:
    settings = Settings.from_environment({}, data=tmp_path)
    assert choose_events(settings, "synthetic:10", Page()).source.count == 10
    with pytest.raises(InvalidInput, match="no file"):
        choose_events(settings, "nowhere", Page())
