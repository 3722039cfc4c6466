"""A shop of priced films behind the API, asked over HTTP."""

from __future__ import annotations

from typing import Any

import httpx

from serving.services import Services
from serving.surface_file import parse_surfaces
from tests.learned_world import COMEDY, HORROR, following, learned
from tests.test_serving_world import World

DAY = 86_400_000


def priced() -> World:
    """Forty horror films and forty comedies that cost their number, in turn of two studios; Ann watched h7 and h3."""
    world, _ = learned()
    for items, category in ((HORROR, "Horror"), (COMEDY, "Comedy")):
        for n, item in enumerate(items):
            studio = {"studio": "north" if n % 2 else "south"}
            created = "2025-12-31T09:00:00Z" if n < 5 else None
            world.add_item(item, f"Film {item}", categories=[category], price=n, attributes=studio, created_at=created)
    return world


async def steered(world: World, surfaces: str = "surfaces: {}") -> Services:
    services = await following(world)
    services.surfaces.current = parse_surfaces(surfaces)
    return services


async def post(world: World, services: Services, path: str = "/v1/recommendations", **body: Any) -> httpx.Response:
    async with world.client(services=services) as client:
        return await client.post(path, json=body)


async def ask(world: World, surfaces: str = "surfaces: {}", services: Services | None = None, **body: Any) -> dict[str, Any]:
    response = await post(world, services or await steered(world, surfaces), **{"user_id": "ann", **body})
    assert response.status_code == 200, response.text
    return dict(response.json())


def price(item: str) -> int:
    return int(item[1:])
