"""Whether lists mirror the shares of a user's interests: 70 % comedies taken, 70 % comedies shown."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from evaluation.metrics.arrays import F64, I64, as_amounts, as_lists, ratio, within_catalogue


def miscalibration(lists: ArrayLike, profiles: ArrayLike, categories: ArrayLike, k: int, alpha: float = 0.01) -> F64:
    """KL divergence of the categories of the best k from the user's: C_KL(p, q) = sum_g p(g) ln(p(g) / ((1 - a) q(g) + a p(g))).

    (Steck, RecSys 2018.) p(g) and q(g) are the means of p(g | i) over the items of the profile and of the list; a keeps the value
    finite where the list lacks a category. 0 is perfect; a list with nothing of the user's interests has -ln(a).

    Args:
        lists: item codes [U, L], best first, -1 at the end.
        profiles: item codes [U, H] of what each user took, -1 at the end.
        categories: weights [items, G], at least 0; each row is scaled to sum 1. Items without categories are left out.
        alpha: a, in (0, 1).

    Returns:
        float64[U], nats; 0 for a user without a profile, who has nothing to be mirrored.

    Raises:
        ValueError: wrong lists, profiles, categories, k or alpha, or an item without a row in `categories`.

    >>> miscalibration([[0, 1], [1, 2]], [[0, 1], [0, -1]], categories=[[1, 0], [0, 1], [0, 1]], k=2).round(3)
    array([0.   , 4.605])
    """
    if not 0 < alpha < 1:
        raise ValueError(f"alpha={alpha}: expected a number between 0 and 1")
    shares = _shares(categories)
    wanted = _mean_shares("profiles", as_lists("profiles", profiles), shares)
    given = _mean_shares("lists", as_lists("lists", lists, k), shares)
    if len(wanted) != len(given):
        raise ValueError(f"profiles: {len(wanted)} rows for {len(given)} lists; expected one for each")
    ratio = np.divide(wanted, (1 - alpha) * given + alpha * wanted, out=np.ones_like(wanted), where=wanted > 0)
    return np.asarray((wanted * np.log(ratio)).sum(axis=1), np.float64)


def _shares(categories: ArrayLike) -> F64:
    weights = as_amounts("categories", categories, dimensions=2)
    sums = weights.sum(axis=1, keepdims=True)
    return ratio(weights, sums)


def _mean_shares(name: str, codes: I64, shares: F64) -> F64:
    """Shares of the categories in each row of codes: float64[U, G], rows of sum 1, or 0 without any category."""
    within_catalogue(name, codes, len(shares))
    if not codes.size or not shares.size:
        return np.zeros((len(codes), shares.shape[1]))
    totals = np.where(codes[:, :, None] >= 0, shares[codes], 0.0).sum(axis=1)
    sums = totals.sum(axis=1, keepdims=True)
    return ratio(totals, sums)
