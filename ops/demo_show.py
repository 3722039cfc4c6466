"""The demo's tables and lines."""

from __future__ import annotations

import shlex
import shutil
import sys
from pathlib import Path
from typing import Any, Final

import orjson
from rich.table import Table
from rich.text import Text

from ops.demo_page import Page
from ops.demo_stack import NAME
from ops.demo_visit import Click, Item, Visit, ids, title_of

_NEW: Final = "bold green"
_RANK, _MARK, _SOURCE, _REASON = "#", "", "source", "reason"
_BEFORE, _AFTER = "before", "after three clicks"
_TITLES: Final = (_BEFORE, _AFTER)


def show_first_list(page: Page, visit: Visit) -> None:
    """What somebody is shown of whom nothing is known."""
    table = _table(page, _RANK, "title", _SOURCE, _REASON)
    for item in visit.before["items"]:
        table.add_row(Text(str(item["rank"])), Text(title_of(item)), Text(_sources(item)), Text(item["reason"], style="dim"))
    page.show(table)


def show_click(page: Page, click: Click) -> None:
    """One click: what it was on, how fast it was seen, what it brought."""
    gained = f"brings {', '.join(click.fresh[:2])}" if click.fresh else "reorders the list"
    more = f" and {len(click.fresh) - 2} more" if len(click.fresh) > 2 else ""
    line = Text.assemble(
        ("click  ", "bold"), click.title, ": in Kafka after ", (f"{click.acknowledged_ms:.0f} ms", "bold"),
        ", in the recommendations after ", (f"{click.visible_ms:.0f} ms", _NEW), f"; {gained}{more}",
    )  # fmt: skip
    page.show(line)


def show_change(page: Page, visit: Visit) -> None:
    """Both lists side by side, what moved, and how fresh the answer is."""
    table = _table(page, _RANK, _BEFORE, _MARK, _AFTER, _SOURCE, _REASON)
    earlier = {item: rank for rank, item in enumerate(ids(visit.before["items"]), start=1)}
    clicked = set(ids(visit.to_click))
    before, after = visit.before["items"], visit.after["items"]
    for at in range(max(len(before), len(after))):
        was, now = before[at : at + 1], after[at : at + 1]
        gone = bool(was) and was[0]["item_id"] in clicked
        left = Text(f"{title_of(was[0])}{' (clicked)' if gone else ''}" if was else "", style="dim")
        table.add_row(Text(str(at + 1)), left, *(_cells(now[0], earlier) if now else ()))
    page.show(table)
    page.say(f"freshness of this answer: {_facts(visit.after['freshness'])}", "dim")


def show_bystander(page: Page, visit: Visit) -> None:
    """That somebody else's list is as it was."""
    if visit.bystander is None:
        page.say("there is nobody else in this stream whose list could stay as it was")
        return
    before, after = ids(visit.theirs_before), ids(visit.theirs_after)
    count, kept = len(after), sum(map(str.__eq__, before, after))
    verdict = f"the same {count} titles in the same order"
    if before != after:
        verdict = f"the same {kept} of {count} titles in their places; the clicks changed what is popular, which moved the others"
    first = f" ({title_of(visit.theirs_after[0])}, ...)" if count else ""
    page.show(Text.assemble(f"user {visit.bystander}, who did nothing: ", (verdict, "bold"), first))


def show_next_steps(page: Page, visit: Visit, once: bool) -> None:
    """Where to look, and what to try in another terminal.

    Args:
        once: nothing stays up, so it is only what one could do.
    """
    page.heading("Look around")
    user = f"{visit.api.url}/v1/users/{visit.user_id}"
    page.say(f"recommendations  {user}/recommendations")
    for name, path in (("all calls", "/docs"), ("popular", "/v1/popular"), ("metrics", "/metrics")):
        page.say(f"{name:<15}  {visit.api.url}{path}")
    page.heading("Without --once it stays up, to be tried from another terminal" if once else "Try, in another terminal")
    event = orjson.dumps({"type": "click", "user_id": visit.user_id, "item_id": _next_item(visit)}).decode()
    key = '-H "authorization: Bearer $KEY" ' if visit.api.asks_for_key else ""
    page.say(f"curl {key}-H 'content-type: application/json' -d {shlex.quote(event)} {visit.api.url}/v1/events")
    page.say(f"curl {key}'{user}'")
    for arguments in ("status", "verify"):
        page.say(f"{_own_command()} {arguments} --name {NAME}")


def _table(page: Page, *columns: str) -> Table:
    """A table without lines; titles share about half of the width, reasons wrap in what is left."""
    table = Table(box=None, header_style="bold", pad_edge=False)
    for name in columns:
        if name == _RANK:
            table.add_column(name, justify="right", no_wrap=True, min_width=2)
        elif name in _TITLES:
            table.add_column(name, no_wrap=True, overflow="ellipsis", max_width=max(12, page.width // 2 // len(_TITLES) - 2))
        elif name == _REASON:
            table.add_column(name, overflow="fold", min_width=16)
        else:
            table.add_column(name, no_wrap=True, min_width=3 if name == _MARK else 16)
    return table


def _cells(item: Item, earlier: dict[str, int]) -> tuple[Text, Text, Text, Text]:
    """Mark, title, sources and reason of a place in the new list."""
    move = earlier.get(item["item_id"], 0) - item["rank"]
    if item["item_id"] not in earlier:
        mark = Text("new", style=_NEW)
    elif move:
        mark = Text(f"↑{move}" if move > 0 else f"↓{-move}", style="green" if move > 0 else "yellow")
    else:
        mark = Text("=", style="dim")
    return mark, Text(title_of(item)), Text(_sources(item)), Text(item["reason"], style="dim")


def _sources(item: Item) -> str:
    """The source that adds most, with its share where there are others."""
    name, most = next(iter(item["sources"].items()))
    return name if len(item["sources"]) == 1 else f"{name} {most / sum(item['sources'].values()):.0%}"


def _facts(freshness: dict[str, Any]) -> str:
    return (
        f"newest event {freshness['newest_event_at']}, age {freshness['age_ms']} ms, "
        f"from event to effect {freshness['event_to_effect_ms']} ms"
    )


def _next_item(visit: Visit) -> str:
    items = visit.after["items"]
    return str(items[0]["item_id"]) if items else str(visit.to_click[0]["item_id"])


def _own_command() -> str:
    """How to call `freshet` from where this was called."""
    called = Path(sys.argv[0])
    if called.name != "freshet" or shutil.which("freshet"):
        return "freshet"
    return str(called)
