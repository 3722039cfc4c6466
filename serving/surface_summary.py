"""A surface in words: what it does differently from the built-in one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from serving.filters.attributes import ANY, type_of
from serving.filters.parser import parse, parse_attribute
from serving.filters.syntax import AllOf, AnyOf, Attribute, Comparison, Condition, Membership, Not, Truth
from serving.surface_sources import OwnSource
from serving.surfaces import BUILT_IN, Surface

_DAY_MS, _HOUR_MS, _MINUTE_MS = 86_400_000, 3_600_000, 60_000


def summary(surface: Surface) -> list[str]:
    """One line for each thing that the surface does, in the order in which it does them; one line if it does nothing.

    >>> summary(BUILT_IN)
    ['as built in']
    """
    return [*_candidates(surface), *_order(surface), *_chance(surface)] or ["as built in"]


def told(name: str, source: OwnSource) -> str:
    """An own source in words.

    >>> told("editors", OwnSource(url="https://shop.example/picks", timeout_ms=40))
    'own source editors: POST https://shop.example/picks, within 40 ms, the best 100, weight 1'
    """
    how = f"POST {source.url}" if source.url else f"calls {source.python}"
    return f"own source {name}: {how}, within {source.timeout_ms} ms, the best {source.max_items}, weight {source.weight:g}"


def custom_attributes(surface: Surface) -> list[str]:
    """The attributes that it expects in `attributes` of the catalogue's records: where one is misspelt, it is among them."""
    texts = [surface.filter, *(one.filter for one in surface.constraints), *(boost.when for boost in surface.boosts)]
    paths = [path for text in texts if text for path in _paths(parse(text))]
    if surface.exposure:
        paths.append(parse_attribute(surface.exposure.by).path)
    return sorted({".".join(path) for path in paths if type_of(path) == ANY})


def _candidates(surface: Surface) -> Iterator[str]:
    for name, value in surface.sources:
        if not isinstance(value, Mapping) and value != getattr(BUILT_IN.sources, name):
            yield f"source {name}: {_switched(value)}"
    for name in sorted(surface.sources.silent):
        yield f"source {name} of the online blend: proposes nothing"
    for name, value in surface.sources.own.items():
        yield f"own source {name}: {_switched(value)}"
    for what, period in surface.exclude:
        if period is not None:
            yield f"{what} items: {'shown again at once' if period == 0 else f'shown again after {_told(period)}'}"
    if surface.filter:
        yield f"only items with: {surface.filter}"
    for place, constraint in enumerate(surface.constraints, 1):
        yield f"wish {place}, {constraint.name}: {constraint.filter}"


def _order(surface: Surface) -> Iterator[str]:
    for boost in surface.boosts:
        yield f"score times {boost.factor:g} where: {boost.when}"
    if surface.popularity_damping:
        yield f"relevance divided by popularity to the power of {surface.popularity_damping:g}"
    for name, weight in (("novelty", surface.novelty), ("serendipity", surface.serendipity), ("calibration", surface.calibration)):
        if weight:
            yield f"{name}: weight {weight:g}"
    if surface.diversity != BUILT_IN.diversity:
        yield f"diversity by {surface.diversity.method}, {surface.diversity.default:g} unless the request says otherwise"
    if surface.exposure:
        yield f"exposure by {surface.exposure.by}: weight {surface.exposure.weight:g}, {_targets(surface.exposure.targets)}"
    if surface.caps.each is not None:
        yield f"at most {surface.caps.each} items of a category"
    for name, most in surface.caps.categories.items():
        yield f"at most {most} items of {name}"
    for pin in surface.pins:
        yield f"item {pin.item} in place {pin.position}"


def _chance(surface: Surface) -> Iterator[str]:
    how = surface.exploration
    if how:
        few = f", items with fewer than {how.few} impressions" if how.method == "thompson" else ""
        yield f"exploration by {how.method}: {how.amount:g} unless the request says otherwise, the best {how.pool} items{few}"


def _switched(value: float) -> str:
    return "on" if value is True else "off" if not value else f"{value:g} times its weight"


def _targets(targets: object) -> str:
    shares = targets.items() if isinstance(targets, dict) else ()
    return ", ".join(f"{name} {share:g}" for name, share in shares) or "equal shares"


def _told(period_ms: int) -> str:
    unit, name = next((unit, name) for unit, name in ((_DAY_MS, "d"), (_HOUR_MS, "h"), (_MINUTE_MS, "m")) if period_ms % unit == 0)
    return f"{period_ms // unit}{name}"


def _paths(condition: Condition) -> Iterator[tuple[str, ...]]:
    match condition:
        case Comparison(_, left, right) | Membership(left, right):
            yield from (one.path for one in (left, right) if isinstance(one, Attribute))
        case Truth(operand):
            yield from (one.path for one in (operand,) if isinstance(one, Attribute))
        case Not(part):
            yield from _paths(part)
        case AllOf(parts) | AnyOf(parts):
            for part in parts:
                yield from _paths(part)
