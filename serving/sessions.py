"""Visitors without a user id: what they do is kept under the id of their session, and goes with them when they log in.

A producer that does not know who somebody is sends their events with the user id `session:<session id>`. For the workers that is a
person like any other; a request that names the session finds them, alone or together with what the user did before.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

from feature_store.session_blob import SessionState
from feature_store.user_blob import HistoryEntry, UserState
from schemas.events import TYPE_WEIGHTS
from schemas.horizons import DAY_MS

PREFIX: Final = "session:"
AFFINITY_HALF_LIFE_MS: Final = 30.0 * DAY_MS  # as the worker decays them


class Known(NamedTuple):
    """What the store knows of somebody: the state, and that of the session model after the same events; None: nothing."""

    state: UserState | None = None
    session: SessionState | None = None


UNKNOWN: Final = Known()


def visitor(user_id: str | None, session_id: str | None) -> str | None:
    """Under which id the models know who asks; None: under none.

    >>> visitor("ann", "s1"), visitor(None, "s1"), visitor(None, None)
    ('ann', 'session:s1', None)
    """
    return user_id if user_id is not None or session_id is None else PREFIX + session_id


def identities(user_id: str | None, session_id: str | None) -> tuple[str, ...]:
    """The ids under which events of one visitor may be kept, the user's own first.

    >>> identities("ann", "s1"), identities("session:s1", "s1"), identities(None, None)
    (('ann', 'session:s1'), ('session:s1',), ())
    """
    found = (user_id, None if session_id is None else PREFIX + session_id)
    return tuple(dict.fromkeys(one for one in found if one is not None))


def together(found: Sequence[Known]) -> Known:
    """One visitor of what is kept under several ids, the user's own first.

    The state of the session model stands for one history alone; where two meet, the model begins with the events.
    """
    known = [one for one in found if one.state is not None and (one.state.history or one.state.newest)]
    if len(known) < 2:
        return next(iter(known or found), UNKNOWN)
    state, *others = (one.state for one in known if one.state is not None)
    for other in others:
        state = merged(state, other)
    return Known(state)


def merged(user: UserState, session: UserState) -> UserState:
    """Both as one person: all events, newest first, an event that was sent under both ids once.

    Affinities are brought to the newer of the two moments before they are added. An event of both is in both sums, so those of the
    session count with the share of its events' weight that the user does not have.
    """
    own = set(user.history)
    added = [entry for entry in session.history if entry not in own]
    newer = user if user.newest >= session.newest else session
    affinities = {name: weight * _faded(newer.newest - user.newest) for name, weight in user.affinities.items()}
    share = _weight(added, session.newest) / (_weight(session.history, session.newest) or 1.0)
    for name, weight in session.affinities.items():
        affinities[name] = affinities.get(name, 0.0) + share * weight * _faded(newer.newest - session.newest)
    return UserState(
        counts=_added_counts(user, session, [entry for entry in session.history if entry in own]),
        history=sorted([*user.history, *added], key=_age, reverse=True),
        newest=newer.newest,
        effect_ms=newer.effect_ms,
        forgotten=user.forgotten,
        affinities=affinities,
        seen=user.seen,
    )


def _added_counts(user: UserState, session: UserState, twice: Sequence[HistoryEntry]) -> list[int]:
    counts = [one + other for one, other in zip(user.counts, session.counts, strict=True)]
    for entry in twice:
        counts[entry.type] -= 1
    return counts


def _age(entry: HistoryEntry) -> tuple[int, int, str]:
    """As a history is ordered."""
    return entry.timestamp, entry.type, entry.item_id


def _weight(entries: Sequence[HistoryEntry], moment: int) -> float:
    return sum(TYPE_WEIGHTS[entry.type] * _faded(moment - entry.timestamp) for entry in entries)


def _faded(age_ms: int) -> float:
    return float(2.0 ** (-age_ms / AFFINITY_HALF_LIFE_MS))
