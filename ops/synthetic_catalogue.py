"""Plausible titles, tags and prices for a made-up shop."""

from __future__ import annotations

from typing import Final

import numpy as np

from ops.sources import JsonObject

# category -> (typical price, what it sells)
SHELVES: Final[dict[str, tuple[float, tuple[str, ...]]]] = {
    "Kitchen": (35.0, ("Kettle", "Skillet", "Teapot", "Cutting Board", "Mixing Bowl", "Espresso Maker", "Knife Set", "Jar")),
    "Garden": (28.0, ("Watering Can", "Planter", "Pruner", "Bird Feeder", "Lantern", "Trellis", "Rain Barrel", "Spade")),
    "Books": (16.0, ("Cookbook", "Atlas", "Novel", "Field Guide", "Biography", "Sketchbook", "Anthology", "Almanac")),
    "Audio": (90.0, ("Headphones", "Speaker", "Turntable", "Earbuds", "Microphone", "Radio", "Amplifier", "Soundbar")),
    "Outdoor": (75.0, ("Tent", "Backpack", "Hammock", "Sleeping Bag", "Flask", "Camp Stove", "Head Torch", "Rain Jacket")),
    "Toys": (24.0, ("Train Set", "Puzzle", "Kite", "Building Blocks", "Marble Run", "Doll House", "Yo-Yo", "Board Game")),
    "Furniture": (180.0, ("Armchair", "Bookcase", "Stool", "Side Table", "Bench", "Desk", "Coat Rack", "Daybed")),
    "Clothing": (48.0, ("Cardigan", "Scarf", "Overshirt", "Raincoat", "Beanie", "Chinos", "Socks", "Sundress")),
    "Sport": (55.0, ("Yoga Mat", "Dumbbells", "Racket", "Running Belt", "Swim Goggles", "Skateboard", "Climbing Rope", "Ball")),
    "Stationery": (12.0, ("Fountain Pen", "Notebook", "Desk Pad", "Planner", "Ink Set", "Pencil Case", "Stapler", "Letter Set")),
    "Lighting": (65.0, ("Desk Lamp", "Pendant", "Floor Lamp", "String Lights", "Wall Lamp", "Night Light", "Bulb", "Shade")),
    "Bicycle": (60.0, ("Pannier", "Saddle", "Bike Light", "Helmet", "Pump", "Lock", "Mudguard", "Handlebar Bag")),
}
CATEGORIES: Final = tuple(SHELVES)
_STYLES: Final = (
    "Nordic", "Vintage", "Compact", "Classic", "Foldable", "Handmade", "Everyday", "Rustic",
    "Modern", "Quiet", "Bright", "Travel", "Studio", "Harbour", "Meadow", "Alpine",
)  # fmt: skip
_MATERIALS: Final = (
    "Copper", "Oak", "Linen", "Steel", "Ceramic", "Bamboo", "Wool", "Glass", "Leather", "Cork", "Canvas", "Walnut",
)  # fmt: skip
_COMBINATIONS: Final = len(_STYLES) * len(_MATERIALS) * 8


def catalogue_entry(number: int, category: int, created_ms: int, price_factor: float) -> JsonObject:
    """The catalogue entry of one item.

    Args:
        number: the item's number; no two items of a category with different numbers have the same title.
        category: index into `CATEGORIES`.
        created_ms: when it appeared, ms since the epoch.
        price_factor: its price relative to what is typical of the category, > 0.
    """
    name = CATEGORIES[category]
    typical, nouns = SHELVES[name]
    # A step coprime to the number of combinations visits each of them once, in an order that does not look counted.
    edition, place = divmod(number, _COMBINATIONS)
    spot = place * 619 % _COMBINATIONS
    noun = nouns[spot % 8]
    style, material = _STYLES[spot // 8 % 16], _MATERIALS[spot // 128]
    title = f"{style} {material} {noun}" + (f" No. {edition + 1}" if edition else "")
    return {
        "item_id": f"item-{number}",
        "title": title,
        "description": f"A {style.lower()} {noun.lower()} in {material.lower()}.",
        "categories": [name],
        "tags": [style.lower(), material.lower()],
        "price": round(float(np.clip(typical * price_factor, 1.0, 5000.0)), 2),
        "available": True,
        "created_at": created_ms,
    }
