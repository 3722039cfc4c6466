"""Which events the demo streams: those asked for, else MovieTweetings from disk or from its home, else made-up ones."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Final, NamedTuple

from ops.datasets import open_source
from ops.demo_download import DownloadFailed, fetch_movietweetings
from ops.demo_page import Page
from ops.sources import Source
from ops.stack.install import cache_folder
from schemas.errors import InvalidInput
from schemas.settings import Settings

NEWEST: Final = 100_000  # events of a longer source that are streamed
_SET: Final = "movietweetings"


class Events(NamedTuple):
    """What is streamed.

    Attributes:
        origin: where it comes from, in one line.
    """

    source: Source
    origin: str


def choose_events(settings: Settings, asked: str | None, page: Page) -> Events:
    """Find the events, and read them once, so that a bad file is known before any server is started.

    Args:
        asked: what `freshet replay` takes; None: choose.

    Raises:
        InvalidInput: what was asked for is not there or not readable, or holds no event.
    """
    events = _chosen(settings, page) if asked is None else Events(open_source(asked, settings.data), f"as asked for: {asked}")
    with page.busy("reading the events"):
        count = events.source.count
    if not count:
        raise InvalidInput(f"{events.source.title} has no events to show")
    return events


def _chosen(settings: Settings, page: Page) -> Events:
    if settings.data is not None:
        if (settings.data.expanduser() / _SET / "ratings.dat").is_file():
            return Events(open_source(_SET, settings.data), f"real events, from {settings.data / _SET}")
        page.say(f"FRESHET_DATA={settings.data} has no {_SET}/ratings.dat")
    return _fetched(cache_folder(settings) / "datasets", page)


def _fetched(folder: Path, page: Page) -> Events:
    """From the cache, else downloaded into it, else synthetic."""
    if not (folder / _SET / "ratings.dat").is_file():
        try:
            with page.bar("MovieTweetings, bytes") as tick:
                fetch_movietweetings(folder / _SET, NEWEST, tick)
        except DownloadFailed as error:
            page.say(f"MovieTweetings cannot be had ({error}); name a file with --source, or set FRESHET_DATA")
            return Events(open_source("synthetic", None), "made-up events: a synthetic shop")
    return Events(open_source(_SET, folder), f"real events, downloaded to {folder / _SET}")


def crowd_of(source: Source) -> list[str]:
    """The users of the events that were streamed, the most active first."""
    skipped = max(0, source.count - NEWEST)
    counts = Counter(event.key for number, event in enumerate(source.events()) if number >= skipped)
    return [user for user, _ in counts.most_common()]
