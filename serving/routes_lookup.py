"""What is known: of users, of items, of what is popular."""

from __future__ import annotations

from collections.abc import Iterable
from http import HTTPStatus
from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import Field
from starlette.exceptions import HTTPException

from schemas.horizons import HALF_LIVES, WINDOWS
from schemas.timestamps import format_timestamp
from schemas.topics import USERS
from serving.answers import Forgetting, ItemPage, PopularItems, SimilarItems, UserPage
from serving.dependencies import Served
from serving.event_log import Record
from serving.http_json import Json
from serving.lookups import Likeness
from serving.problems import InvalidRequest
from serving.query import ItemId, K, UserId
from serving.situation import checked

router = APIRouter(tags=["lookup"])
Text = Annotated[str, Field(min_length=3, max_length=210)]


# Before the shorter paths, which would take `/similar` for a part of the id.
@router.get("/v1/items/{item_id:any}/similar", response_model=SimilarItems)
async def similar_items(services: Served, item_id: ItemId, k: K = 10, by: Likeness = "both") -> Json:
    """Items that are taken together with this one (behaviour), or that the catalogue describes alike (content)."""
    answer = await services.lookups.similar(item_id, k, by)
    if answer is None:
        raise _unknown_item(item_id)
    return Json(answer)


@router.get("/v1/items/{item_id:any}", response_model=ItemPage)
async def item(services: Served, item_id: ItemId) -> Json:
    """The catalogue's record of an item, with exact counts and its popularity now."""
    answer = await services.lookups.item(item_id)
    if answer is None:
        raise _unknown_item(item_id)
    return Json(answer)


@router.get("/v1/users/{user_id:any}", response_model=UserPage)
async def user(services: Served, user_id: UserId) -> Json:
    """What is known of a user: exact counts, the newest events, what they like."""
    return Json(await services.lookups.user(user_id, services.clock()))


@router.delete(
    "/v1/users/{user_id:any}", status_code=HTTPStatus.ACCEPTED, response_model=Forgetting,
    responses={503: {"description": "Kafka or the store did not acknowledge; ask again"}},
)  # fmt: skip
async def forget(services: Served, user_id: UserId) -> Json:
    """Forget a user: history, profile, taste, what was decided for them, and what their history added to the counts of items and
    models. Done within a minute.

    Files of the lake follow at its next compaction. What they do from now on counts as somebody new's.
    """
    await services.log.append([Record(USERS, user_id.encode(), None)])
    await services.decisions.forget(user_id)
    return Json({"user_id": user_id, "accepted_at": format_timestamp(services.clock())}, HTTPStatus.ACCEPTED)


@router.get("/v1/popular", response_model=PopularItems)
async def popular(
    services: Served,
    half_life: str | None = None,
    window: str | None = None,
    category: Annotated[str | None, Query(min_length=1, max_length=200)] = None,
    context: Annotated[list[Text], Query(max_length=4)] = [],  # noqa: B006 - never changed
    k: K = 10,
) -> Json:
    """What is popular now: over all time scales, with one half-life, in one window, or in contexts (`device=phone`, `country=DE`,
    `hour=13` in UTC, `category=Horror`; with several: where they meet or nearly do)."""
    _check_name("half_life", half_life, HALF_LIVES)
    _check_name("window", window, WINDOWS)
    if half_life is not None and window is not None:
        raise InvalidRequest("window", "name a half_life or a window, not both")
    if context:
        if half_life or window or category:
            raise InvalidRequest("context", "cannot be combined with half_life, window or category")
        return Json(await services.lookups.popular_where([checked(one) for one in context], k))
    return Json(await services.lookups.popular(half_life, window, category, k))


def _check_name(field: str, name: str | None, valid: Iterable[str]) -> None:
    names = list(valid)
    if name is not None and name not in names:
        raise InvalidRequest(field, f"must be one of {', '.join(names)}")


def _unknown_item(item_id: str) -> HTTPException:
    return HTTPException(HTTPStatus.NOT_FOUND, f"nothing is known of item {item_id!r}")
