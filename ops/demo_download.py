"""MovieTweetings from its public home, cut to its newest ratings, into a folder; all of it or nothing."""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Final

import httpx

from schemas.errors import Unavailable

HOME: Final = "https://raw.githubusercontent.com/sidooms/MovieTweetings/master"
FOLDERS: Final = ("snapshots/100K", "latest")
_FILES: Final = ("movies.dat", "ratings.dat")
_SILENCE_SECONDS: Final = 4.0
_WHOLE_SECONDS: Final = 45.0
_MOST_BYTES: Final = 100_000_000
Tick = Callable[[int, int], None]


class DownloadFailed(Unavailable):
    """The files could not be had, or are not what they should be."""


def fetch_movietweetings(into: Path, newest: int, tick: Tick, home: str = HOME) -> None:
    """Download `movies.dat` and `ratings.dat` (`user::film::rating::epoch seconds`).

    Args:
        into: the folder to make; it appears complete.
        newest: keep this many ratings, the latest, in time order.
        tick: is told (bytes so far, bytes of this file or 0).
        home: URL above `FOLDERS`; the first folder that has both files is taken.

    Raises:
        DownloadFailed: no answer within seconds, an answer that is not the files, or no place for them.
    """
    deadline = time.monotonic() + _WHOLE_SECONDS
    try:
        with httpx.Client(timeout=_SILENCE_SECONDS, follow_redirects=True) as client:
            films, ratings = _first_complete(client, home, deadline, tick)
        _keep(into, films, b"\n".join(_newest(ratings.splitlines(), newest)))
    except httpx.HTTPError as error:
        raise DownloadFailed(f"{home}: {error or type(error).__name__}") from error
    except OSError as error:
        raise DownloadFailed(f"{into}: {error.strerror or error}") from error


def _first_complete(client: httpx.Client, home: str, deadline: float, tick: Tick) -> list[bytes]:
    for number, folder in enumerate(FOLDERS, start=1):
        try:
            return [_download(client, f"{home}/{folder}/{name}", deadline, tick) for name in _FILES]
        except httpx.HTTPStatusError:
            if number == len(FOLDERS):
                raise
    raise AssertionError("FOLDERS is empty")


def _download(client: httpx.Client, url: str, deadline: float, tick: Tick) -> bytes:
    body = bytearray()
    with client.stream("GET", url) as answer:
        answer.raise_for_status()
        length = answer.headers.get("content-length", "")
        total = int(length) if length.isdecimal() and "content-encoding" not in answer.headers else 0
        for piece in answer.iter_bytes():
            body += piece
            tick(len(body), total)
            if len(body) > _MOST_BYTES or time.monotonic() > deadline:
                raise DownloadFailed(f"{url}: more than {_MOST_BYTES:,} bytes, or not complete within {_WHOLE_SECONDS:.0f} s")
    return bytes(body)


def _newest(lines: Iterable[bytes], count: int) -> list[bytes]:
    """The rows with the latest times, oldest first."""
    timed = [(int(row[3]), line) for line in lines if len(row := line.split(b"::")) == 4 and row[3].isdigit()]
    if not timed:
        raise DownloadFailed("what came is no list of ratings")
    timed.sort(key=lambda pair: pair[0])
    return [line for _, line in timed[-count:]]


def _keep(into: Path, films: bytes, ratings: bytes) -> None:
    """Make the folder in one step; one that somebody else made meanwhile stays."""
    into.parent.mkdir(parents=True, exist_ok=True)
    draft = Path(tempfile.mkdtemp(prefix=f".{into.name}-", dir=into.parent))
    try:
        (draft / "movies.dat").write_bytes(films)
        (draft / "ratings.dat").write_bytes(ratings + b"\n")
        if not into.exists():
            draft.rename(into)
    finally:
        shutil.rmtree(draft, ignore_errors=True)
