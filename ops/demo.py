"""`freshet demo`: from nothing to a list that follows three clicks, on real servers, and nothing left behind.

Servers, worker and API in a stack of its own; a stream of events at full speed; one person who clicks three times.
"""

from __future__ import annotations

import signal
import time
from pathlib import Path
from typing import Final

from ops.demo_api import Api, admin_key
from ops.demo_backlog import wait_until_applied
from ops.demo_events import NEWEST, Events, choose_events, crowd_of
from ops.demo_page import Page
from ops.demo_show import show_bystander, show_change, show_click, show_first_list, show_next_steps
from ops.demo_stack import Stoppable, Stopped, fresh_stack, is_up, only_one_demo, stoppable
from ops.demo_visit import Visit, await_lists
from ops.replay import AS_FAST_AS_IT_GOES, replay
from schemas.errors import StackError
from schemas.settings import Settings

_LOOK_EVERY_SECONDS: Final = 1.0


def run(settings: Settings, once: bool = False, source: str | None = None) -> None:
    """Show the whole system at work. Whatever happens, the stack is taken down again.

    Args:
        once: end after the show instead of staying up until Ctrl-C.
        source: what `freshet replay` takes; None: MovieTweetings, else the synthetic stream.

    Raises:
        FreshetError: no servers, no such source, or something did not happen that should have.
        SystemExit: a signal ended it early; 128 and the signal's number.
    """
    page = Page()
    try:
        with only_one_demo(settings), stoppable() as stopping:
            _demonstrate(settings, once, source, page, stopping)
    except Stopped as stopped:
        page.say(f"demo: ended early by {stopped.name}; nothing is left running")
        raise SystemExit(128 + stopped.number) from stopped
    page.say("demo: done; nothing is left running")


def _demonstrate(settings: Settings, once: bool, source: str | None, page: Page, stopping: Stoppable) -> None:
    key = admin_key(settings)  # before anything is started: without one there is nothing to show
    events = choose_events(settings, source, page)
    page.heading("Servers, a worker and the API")
    with fresh_stack(settings, page, stopping) as started:
        own = settings.model_copy(update={"kafka": started.kafka, "redis": started.redis})
        _stream(own, events, started.folder / "logs", page)
        if started.api is None:
            raise StackError("the stack has no API")
        with Api(started.api, key) as api:
            _show(api, events, once, page)
        if not once:
            _stay(settings, page)


def _stream(settings: Settings, events: Events, logs: Path, page: Page) -> None:
    """Replay everything and wait until all of it is in the feature store."""
    page.heading("Events")
    page.say(events.origin)
    start = max(0, events.source.count - NEWEST)
    with page.bar("to Kafka") as tick:
        report = replay(settings, events.source, AS_FAST_AS_IT_GOES, NEWEST, False, True, page.say, start, tick)
    begun = time.monotonic() - report.seconds
    with page.bar("applied") as tick:
        wait_until_applied(settings, report.events, logs, tick)
    seconds = time.monotonic() - begun
    page.say(f"{report.events:,} events and {report.items:,} items are in Kafka, the events within {report.seconds:.1f} s;")
    page.say(f"the worker had applied all of them after {seconds:.1f} s: {report.events / seconds:,.0f} events/s")


def _show(api: Api, events: Events, once: bool, page: Page) -> None:
    """One person: what they are shown, three clicks, what they are shown then; and somebody else, for whom nothing changes."""
    await_lists(api)
    visit = Visit(api, crowd_of(events.source))
    page.heading("Recommendations for a person we know nothing about")
    show_first_list(page, visit)
    page.heading("Three clicks, over HTTP, through Kafka and the worker")
    for item in visit.to_click:
        show_click(page, visit.click(item))
    page.heading("The same person, before and after")
    visit.look_again()
    show_change(page, visit)
    show_bystander(page, visit)
    visit.check()
    show_next_steps(page, visit, once)


def _stay(settings: Settings, page: Page) -> None:
    """Stay up until a signal, or until somebody takes the stack down."""
    page.say("\nIt stays up until Ctrl-C.")
    try:
        while is_up(settings):
            time.sleep(_LOOK_EVERY_SECONDS)
    except Stopped as stopped:
        if stopped.number != signal.SIGINT:
            raise
        page.say("")
    else:
        page.say("demo: the stack was taken down from elsewhere")
