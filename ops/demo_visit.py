"""One person's visit: a first list, three clicks on related items, the list after them; and a bystander whose list is watched."""

from __future__ import annotations

import secrets
import time
from itertools import islice
from typing import Any, Final, NamedTuple

from ops.demo_api import Api
from schemas.errors import FreshetError, InvalidInput
from schemas.timestamps import parse_timestamp

VISITOR: Final = "you"
LENGTH: Final = 10
CLICKS: Final = 3
_BYSTANDERS: Final = 20
_VISIBLE_SECONDS: Final = 10.0
_LISTS_SECONDS: Final = 15.0
_PAUSE_SECONDS: Final = 0.002
Item = dict[str, Any]


class Click(NamedTuple):
    """One click and how fast it was seen.

    Attributes:
        acknowledged_ms: from the POST to its answer: Kafka has the event.
        visible_ms: from the POST to the first recommendations that know of it.
        fresh: titles that the list gained by it.
    """

    title: str
    acknowledged_ms: float
    visible_ms: float
    fresh: list[str]


def await_lists(api: Api) -> None:
    """Wait until the API has seen what is popular, which it looks at a few times a second.

    Raises:
        FreshetError: it does not.
    """
    deadline = time.monotonic() + _LISTS_SECONDS
    while api.popular(1)["degraded"] is not None:
        if time.monotonic() > deadline:
            raise FreshetError(f"the API knows of nothing popular {_LISTS_SECONDS:.0f} s after all events were applied")
        time.sleep(0.1)


def title_of(item: Item) -> str:
    """Its title, or its id where there is no catalogue."""
    return str(item.get("title") or item["item_id"])


def ids(items: list[Item]) -> list[str]:
    """Their ids, in order."""
    return [item["item_id"] for item in items]


class Visit:
    """A visitor nobody knows yet.

    Attributes:
        before: the first answer; `after`: the newest one.
        to_click: three items: one they are shown, and two that others take together with it.
        bystander: somebody with another taste; None where there is nobody else.
        theirs_before: the bystander's list at the start; `theirs_after`: after the clicks.
    """

    def __init__(self, api: Api, crowd: list[str]) -> None:
        self.api = api
        self.user_id = VISITOR if not api.user(VISITOR)["history"] else f"{VISITOR}-{secrets.token_hex(3)}"
        self.before = self.after = api.recommendations(self.user_id, LENGTH)
        self.to_click, near = self._choose_clicks()
        self.clicks: list[Click] = []
        self._last_ms = 0
        self.bystander, self.theirs_before = self._choose_bystander(crowd, near)
        self.theirs_after = self.theirs_before
        self._their_counts = self._counts()

    def click(self, item: Item) -> Click:
        """Post a click, and ask for recommendations until they know of it.

        Raises:
            FreshetError: they do not, within ten seconds.
        """
        shown = set(ids(self.after["items"]))
        self._last_ms = max(time.time_ns() // 1_000_000, self._last_ms + 1)
        begun = time.perf_counter()
        self.api.click(self.user_id, item["item_id"], self._last_ms)
        acknowledged = time.perf_counter()
        self.after = self._await_visible(item, begun)
        visible = time.perf_counter()
        if item["item_id"] not in ids(self.api.user(self.user_id)["history"]):
            raise FreshetError(f"the click on {title_of(item)!r} is not in the history of {self.user_id!r}")
        fresh = [title_of(found) for found in self.after["items"] if found["item_id"] not in shown]
        self.clicks.append(Click(title_of(item), (acknowledged - begun) * 1000, (visible - begun) * 1000, fresh))
        return self.clicks[-1]

    def look_again(self) -> None:
        """Ask for both lists once more, as any page view would."""
        self.after = self.api.recommendations(self.user_id, LENGTH)
        if self.bystander is not None:
            self.theirs_after = self.api.recommendations(self.bystander, LENGTH)["items"]

    def check(self) -> None:
        """What must have happened.

        Raises:
            FreshetError: it did not.
        """
        if ids(self.before["items"]) == ids(self.after["items"]):
            raise FreshetError("three clicks did not change the recommendations")
        if again := set(ids(self.after["items"])).intersection(ids(self.to_click)):
            raise FreshetError(f"recommended again right after the click: {', '.join(sorted(again))}")
        if self._counts() != self._their_counts:
            raise FreshetError(f"the clicks of {self.user_id!r} were counted for {self.bystander!r}")
        # One place may go to what the clicks made more popular: popularity is everybody's.
        if len(set(ids(self.theirs_before)).difference(ids(self.theirs_after))) > 1:
            raise FreshetError(f"the clicks of {self.user_id!r} changed the list of {self.bystander!r}")

    def _counts(self) -> dict[str, int] | None:
        """What the bystander has done so far."""
        counts: dict[str, int] | None = None if self.bystander is None else self.api.user(self.bystander)["counts"]
        return counts

    def _await_visible(self, item: Item, begun: float) -> dict[str, Any]:
        while True:
            answer = self.api.recommendations(self.user_id, LENGTH)
            newest = answer["freshness"]["newest_event_at"]
            if newest is not None and parse_timestamp(newest) >= self._last_ms:
                return answer
            if time.perf_counter() - begun > _VISIBLE_SECONDS:
                raise FreshetError(f"the click on {title_of(item)!r} is not in the recommendations after {_VISIBLE_SECONDS:.0f} s")
            time.sleep(_PAUSE_SECONDS)

    def _choose_clicks(self) -> tuple[list[Item], set[str]]:
        """Three items, and the ids of all that is like the first of them.

        Of what the visitor is shown the one with most company that they are not shown; without company, just what they are shown.
        """
        shown = self.before["items"]
        if len(shown) <= CLICKS:
            raise InvalidInput(f"the stream has only {len(shown)} items; the demo clicks on {CLICKS} and wants some left to show")
        known = set(ids(shown))
        circles = [(item, self._company(item)) for item in shown]
        chosen, company = max(circles, key=lambda circle: len(set(ids(circle[1])) - known))
        if len(company) < CLICKS - 1:
            chosen, company = shown[0], shown[1:CLICKS]
        ahead = sorted(company, key=lambda item: item["item_id"] in known)  # stable: the rest stays in order of likeness
        return [chosen, *ahead[: CLICKS - 1]], {chosen["item_id"], *ids(company)}

    def _company(self, item: Item) -> list[Item]:
        answer = self.api.similar(item["item_id"], LENGTH)
        company: list[Item] = [] if answer["degraded"] else answer["items"]
        return company

    def _choose_bystander(self, crowd: list[str], near: set[str]) -> tuple[str | None, list[Item]]:
        """Of the most active users the one whose list has least in common with the clicks, and that list."""
        others = islice((user for user in crowd if user != self.user_id), _BYSTANDERS)
        lists = [(user, self.api.recommendations(user, LENGTH)["items"]) for user in others]
        return min(lists, key=lambda pair: len(near.intersection(ids(pair[1]))), default=(None, []))
