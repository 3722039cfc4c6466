"""Slates of an invented world: items with a strength, people with a taste for one category, clicks five seconds later."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import numpy as np

START = 1_700_000_000_000
DELAY = 5_000
CATEGORIES = ("drama", "comedy", "war")


def ranklens_lines(slates: int = 400, items: int = 60, width: int = 8, seed: int = 1) -> list[dict[str, Any]]:
    """RankLens' events: items first, then each slate and its clicks; five slates a person, one a second in all."""
    rng = np.random.default_rng(seed)
    strength, kind = rng.normal(0, 1.5, items), rng.integers(len(CATEGORIES), size=items)
    lines = [_item(item, CATEGORIES[kind[item]], float(strength[item] + rng.normal(0, 0.5))) for item in range(items)]
    people = max(slates // 5, 1)
    taste = rng.integers(len(CATEGORIES), size=people)
    for number in range(slates):
        shown, person = rng.permutation(items)[:width], number % people
        liking = strength[shown] + 2.0 * (kind[shown] == taste[person]) - 1.5
        clicked = rng.random(width) < 1 / (1 + np.exp(-2 * liking))
        lines += _slate(number, person, START + number * 1000, shown.tolist(), shown[clicked].tolist())
    return lines


def _item(item: int, category: str, votes: float) -> dict[str, Any]:
    given = {"title": f"film {item}", "genres": [category], "votes": votes, "director": f"person {item % 7}"}
    return {"event": "item", "item": f"i{item}", "fields": [{"name": name, "value": value} for name, value in given.items()]}


def _slate(number: int, person: int, time: int, shown: list[int], clicked: list[int]) -> list[dict[str, Any]]:
    slate, who = f"s{number}", {"session": f"u{person}", "user": f"u{person}"}
    items = [{"id": f"i{item}"} for item in shown]
    clicks = [
        {
            "event": "interaction",
            "id": f"{slate}-{item}",
            "item": f"i{item}",
            "ranking": slate,
            "timestamp": str(time + DELAY),
            **who,
        }
        for item in clicked
    ]
    return [{"event": "ranking", "id": slate, "items": items, "timestamp": str(time), **who}, *clicks]


def as_contract(lines: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The same events as values of `items`, `impressions` and `clicks`."""
    return [_contract_event(line) for line in lines]


def _contract_event(line: dict[str, Any]) -> dict[str, Any]:
    if line["event"] == "item":
        given = {entry["name"]: entry["value"] for entry in line["fields"]}
        attributes = {name: given[name] for name in ("votes", "director")}
        return {"item_id": line["item"], "title": given["title"], "categories": given["genres"], "attributes": attributes}
    when = {"user_id": line["user"], "timestamp": int(line["timestamp"])}
    if line["event"] == "ranking":
        shown = [{"item_id": item["id"], "position": position} for position, item in enumerate(line["items"])]
        return {"request_id": line["id"], "items": shown, **when}
    return {"event_id": line["id"], "item_id": line["item"], "request_id": line["ranking"], **when}


def write_lines(path: Path, lines: list[dict[str, Any]]) -> Path:
    """JSON lines, gzipped if the name says so."""
    text = "".join(json.dumps(line) + "\n" for line in lines).encode()
    path.write_bytes(gzip.compress(text) if path.suffix == ".gz" else text)
    return path
