"""What a source of a product team is asked, and what of its answer is taken: nothing that is not exactly of the form asked for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Final, NamedTuple

from pydantic import Field, TypeAdapter, ValidationError
from typing_extensions import TypedDict

from schemas.errors import SourceFailed
from schemas.ids import Id
from serving.plan import Plan
from serving.query import RecommendationQuery

MAX_ANSWERED: Final = 5000
"""Items of an answer that are looked at; one with more is refused."""


class Question(TypedDict):
    """What a source is asked: the body of the POST, or the argument of the callable. `max_items`: more of an answer is not used.
    `candidates`: the only items that may come; null: all may. The history of the person is not told."""

    user_id: str | None
    session_id: str | None
    surface: str
    k: int
    max_items: int
    recent_items: list[str]
    candidates: list[str] | None
    context: dict[str, Any]


class OwnAnswer(NamedTuple):
    """What a source answered.

    Attributes:
        items: different ones, best first. failure: why there are none, one of `SourceFailed.reason`; None: it did answer.
    """

    items: tuple[str, ...] = ()
    failure: str | None = None


class _Scored(TypedDict):
    item_id: Id
    score: Annotated[float, Field(strict=True, allow_inf_nan=False)]


_IDS: Final = TypeAdapter(Annotated[list[Id], Field(max_length=MAX_ANSWERED)])
_SCORED: Final = TypeAdapter(Annotated[list[_Scored], Field(max_length=MAX_ANSWERED)])


def question_of(query: RecommendationQuery, plan: Plan, max_items: int) -> Question:
    """A new question, which the source may keep or change."""
    return {
        "user_id": query.user_id,
        "session_id": query.session_id,
        "surface": plan.name,
        "k": query.k,
        "max_items": max_items,
        "recent_items": list(query.recent_items),
        "candidates": None if query.candidates is None else list(query.candidates),
        "context": dict(query.context),
    }


def items_of(answer: object, max_items: int) -> tuple[str, ...]:
    """The items of an answer, each once, best first: a list of ids, or of objects with `item_id` and `score` (larger first).

    Raises:
        SourceFailed: garbage; it is anything else, in any place.

    >>> items_of(["7", "3", "7"], 10), items_of([{"item_id": "7", "score": 1}, {"item_id": "3", "score": 2.5}], 1)
    (('7', '3'), ('3',))
    """
    if not isinstance(answer, list):
        raise SourceFailed("garbage", f"expected a list, found {type(answer).__name__}")
    try:
        if answer and isinstance(answer[0], Mapping):
            scored = sorted(_SCORED.validate_python(answer), key=lambda one: -one["score"])
            ids = [one["item_id"] for one in scored]
        else:
            ids = _IDS.validate_python(answer)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        raise SourceFailed("garbage", f"{'.'.join(map(str, first['loc']))}: {first['msg']}") from error
    return tuple(dict.fromkeys(ids))[:max_items]
