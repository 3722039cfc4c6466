"""Every call of the API as a value: what to send, and how to read the answer. Both clients are made of these."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Generic, Literal, TypeVar
from urllib.parse import quote, urlencode

from freshet_client.answers import (
    GroupRecommendations,
    Intake,
    Onboarding,
    PopularItems,
    Ranking,
    Readiness,
    Recommendations,
    SimilarItems,
)
from freshet_client.decoding import Answer, read
from freshet_client.errors import InvalidAnswer, error_of
from freshet_client.events import Event, Scalar, encode
from freshet_client.pages import Forgotten, ItemPage, LoggedRequest, ModelsPage, Scoreboard, UserPage, Why
from freshet_client.retries import parse_retry_after

T = TypeVar("T", bound=Answer)
Strategy = Literal["average", "least_misery", "most_pleasure"]
Likeness = Literal["behaviour", "content", "both"]
Constraints = Mapping[str, Any] | Sequence[Mapping[str, str]]

MAX_EVENTS: Final = 1000  # the API's bounds on one request
MAX_BODY_BYTES: Final = 1 << 20
BATCH_BYTES: Final = 900_000  # what is put into one; leaves room for a proxy's own, smaller megabyte


@dataclass(frozen=True, slots=True)
class Call(Generic[T]):
    """One request.

    Attributes:
        path: with its query.
        kind: what the answer is.
        body: JSON; None: there is none.
        also: statuses that are answers here, though elsewhere they are errors.
    """

    method: str
    path: str
    kind: type[T]
    body: bytes | None = None
    also: frozenset[int] = frozenset()

    def answer(self, status: int, headers: Mapping[str, str], content: bytes) -> T:
        """What the server said.

        Raises:
            ApiError: it said no. InvalidAnswer: it is not what Freshet answers.
        """
        good = 200 <= status < 300 or status in self.also
        try:
            document = json.loads(content) if content else {}
        except ValueError as error:
            if good:
                raise InvalidAnswer(f"{self.method} {self.path}: not JSON: {content[:60]!r}") from error
            document = None
        if good:
            return read(self.kind, document)
        raise error_of(status, document, parse_retry_after(headers.get("retry-after")))


def recommendations(
    user_id: str | None = None,
    *,
    k: int = 10,
    session_id: str | None = None,
    surface: str | None = None,
    filter: str | None = None,  # noqa: A002 - the API's name
    diversity: float | None = None,
    explore: float | None = None,
    explain: bool = False,
    recent_items: Sequence[str] | None = None,
    candidates: Sequence[str] | None = None,
    constraints: Constraints | None = None,
    context: Mapping[str, Scalar] | None = None,
) -> Call[Recommendations]:
    """What to show a person next, or a visitor without an id (then say what they took lately).

    Args:
        user_id: whom to recommend to; None: a visitor of whom nothing is kept.
        k: how many, 1 to 200.
        session_id, surface: the visit, and where the list is shown.
        filter: only what this holds for: `price < 20 and not seen`.
        diversity, explore: 0 to 1; None: as the surface says.
        explain: also how the list came about, in `explanation`.
        recent_items: what the visitor took last, newest first, at most 100.
        candidates: only from these, at most 2,000.
        constraints: wishes, most important first, that give way: `{"price": {"max": 20}}`.
        context: `device`, `country`, `item_id` of the page; logged with the impression.
    """
    body = {
        "user_id": user_id, "k": k, "session_id": session_id, "surface": surface, "filter": filter, "diversity": diversity,
        "explore": explore, "explain": explain or None, "recent_items": _listed(recent_items), "candidates": _listed(candidates),
        "constraints": constraints, "context": context,
    }  # fmt: skip
    return Call("POST", "/v1/recommendations", Recommendations, _body(body))


def rank(
    items: Sequence[str],
    *,
    user_id: str | None = None,
    session_id: str | None = None,
    context: Mapping[str, Scalar] | None = None,
) -> Call[Ranking]:
    """The given items in the order in which this person should see them."""
    body = {"user_id": user_id, "session_id": session_id, "items": list(items), "context": context}
    return Call("POST", "/v1/rank", Ranking, _body(body))


def group_recommendations(
    user_ids: Sequence[str],
    *,
    strategy: Strategy = "average",
    k: int = 10,
    surface: str | None = None,
    filter: str | None = None,  # noqa: A002 - the API's name
    diversity: float | None = None,
    explore: float | None = None,
    explain: bool = False,
    constraints: Constraints | None = None,
    context: Mapping[str, Scalar] | None = None,
) -> Call[GroupRecommendations]:
    """One list for several people.

    Args:
        user_ids: who will look at it together, 2 to 20 different ones.
        strategy: what counts of what they gain by an item: the mean, the least, the most.

    The others are as of `recommendations`.
    """
    body = {
        "user_ids": list(user_ids), "strategy": strategy, "k": k, "surface": surface, "filter": filter, "diversity": diversity,
        "explore": explore, "explain": explain or None, "constraints": constraints, "context": context,
    }  # fmt: skip
    return Call("POST", "/v1/groups/recommendations", GroupRecommendations, _body(body))


def onboarding(k: int = 10) -> Call[Onboarding]:
    """Items to ask a new person about: what says most about their taste."""
    return Call("GET", _path("/v1/onboarding", k=k), Onboarding)


def similar(item_id: str, *, k: int = 10, by: Likeness = "both") -> Call[SimilarItems]:
    """Items that are taken together with this one (behaviour), or that the catalogue describes alike (content).

    Raises NotFound where nothing is known of the item.
    """
    return Call("GET", _path("/v1/items/{}/similar", item_id, k=k, by=by), SimilarItems)


def popular(
    *,
    k: int = 10,
    half_life: str | None = None,
    window: str | None = None,
    category: str | None = None,
    context: Sequence[str] | None = None,
) -> Call[PopularItems]:
    """What is popular now.

    Args:
        half_life, window: one time scale (`1h`, `24h`, ...) instead of all; not both.
        category: only items of it.
        context: up to four of `device=phone`, `country=DE`, `hour=13`, `category=Horror`; goes with none of the others.
    """
    asked = {"half_life": half_life, "window": window, "category": category, "context": _listed(context)}
    return Call("GET", _path("/v1/popular", k=k, **asked), PopularItems)


def item(item_id: str) -> Call[ItemPage]:
    """The catalogue's record of an item, with exact counts and its popularity now; raises NotFound for an unknown one."""
    return Call("GET", _path("/v1/items/{}", item_id), ItemPage)


def user(user_id: str) -> Call[UserPage]:
    """What is known of a user; zeros for one without events."""
    return Call("GET", _path("/v1/users/{}", user_id), UserPage)


def forget(user_id: str) -> Call[Forgotten]:
    """Forget a user, everywhere, within a minute."""
    return Call("DELETE", _path("/v1/users/{}", user_id), Forgotten)


def request(request_id: str) -> Call[LoggedRequest]:
    """How the list of a request came about."""
    return Call("GET", _path("/v1/requests/{}", request_id), LoggedRequest)


def why(request_id: str, item_id: str) -> Call[Why]:
    """Why the item is in the list of that request, or why it is not."""
    return Call("GET", _path("/v1/requests/{}/why", request_id, item_id=item_id), Why)


def scoreboard() -> Call[Scoreboard]:
    """How good the models are, live."""
    return Call("GET", "/v1/scoreboard", Scoreboard)


def models() -> Call[ModelsPage]:
    """Which models there are: the online ones, and every published version."""
    return Call("GET", "/v1/models", ModelsPage)


def ready() -> Call[Readiness]:
    """Whether the API can do its work, check by check. No error where it cannot."""
    return Call("GET", "/readyz", Readiness, also=frozenset({503}))


def intake(events: Iterable[bytes]) -> Call[Intake]:
    """A batch of encoded events."""
    return Call("POST", "/v1/events", Intake, b"[" + b",".join(events) + b"]")


def batches(events: Iterable[Event]) -> Iterator[list[bytes]]:
    """The events, encoded, in lists that the API takes at once.

    Raises:
        ValueError, TypeError: a value has no JSON.
    """
    batch: list[bytes] = []
    size = 0
    for line in [event.encoded() for event in events]:  # all of them, before the first is sent
        if batch and (len(batch) == MAX_EVENTS or size + len(line) > BATCH_BYTES):
            yield batch
            batch, size = [], 0
        batch.append(line)
        size += len(line) + 1
    if batch:
        yield batch


def _path(template: str, *parts: str, **query: Any) -> str:
    path = template.format(*map(_segment, parts))
    asked = {name: value for name, value in query.items() if value is not None}
    return f"{path}?{urlencode(asked, doseq=True)}" if asked else path


def _segment(text: str) -> str:
    """Text as one segment of a path. `.` and `..` would be taken for directions, and removed on the way."""
    return "%2E" * len(text) if text in {".", ".."} else quote(text, safe="")


def _listed(values: Sequence[str] | None) -> list[str] | None:
    return None if values is None else list(values)


def _body(fields: Mapping[str, Any]) -> bytes:
    return encode({name: value for name, value in fields.items() if value is not None})
