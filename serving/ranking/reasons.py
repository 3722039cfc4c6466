"""Why an item is in the list, in words. Only what is true: the reason names the evidence that contributed most."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from schemas.events import EventType

_DONE: Final = {
    EventType.LIKE: "because you liked {}",
    EventType.RATING: "because you rated {}",
    EventType.ADD_TO_CART: "because you put {} in your cart",
    EventType.PURCHASE: "because you bought {}",
}
_WATCHED: Final = "because you watched {}"


def because(seed: str, event: int | None) -> str:
    """The reason for an item that is taken together with one of the person's own.

    Args:
        seed: title of that item, or its id.
        event: type code of what the person did with it; None if that is not known.

    >>> because("Alien", EventType.VIEW), because("Alien", EventType.PURCHASE)
    ('because you watched Alien', 'because you bought Alien')
    """
    return (_WATCHED if event is None else _DONE.get(EventType(event), _WATCHED)).format(seed)


def popular_in(category: str, liked: bool = True) -> str:
    """The reason for a popular item of a category.

    >>> popular_in("Horror")
    'popular in Horror, which you like'
    """
    return f"popular in {category}, which you like" if liked else f"popular in {category}"


def shares(words: Sequence[str], item: str) -> str:
    """The reason for an item that is described like one of the person's own.

    Args:
        words: categories, tags and words that both have.

    >>> shares(["Horror", "space"], "Alien")
    'shares Horror, space with Alien'
    """
    return f"shares {', '.join(words)} with {item}"


def popular_where(contexts: Sequence[str]) -> str:
    """The reason for what is popular among those in the same situation.

    >>> popular_where(["country=DE", "device=phone"])
    'popular now for country DE, device phone'
    """
    return f"popular now for {', '.join(context.replace('=', ' ', 1) for context in contexts)}"


POPULAR: Final = "popular now"
LIKE_LATELY: Final = "close to what you watched last"
TASTE: Final = "people with your taste take it"
PINNED: Final = "chosen for this place"
FROM_CATALOGUE: Final = "from the catalogue"
ASKED_FOR: Final = "one of the items asked for"


def suggested_by(source: str) -> str:
    """The reason for an item that a product team's own source put highest.

    >>> suggested_by("editors")
    'suggested by editors'
    """
    return f"suggested by {source}"


def similar_to(item: str) -> str:
    """The reason for an item that others take together with the one on the page.

    >>> similar_to("Alien")
    'similar to Alien'
    """
    return f"similar to {item}"
