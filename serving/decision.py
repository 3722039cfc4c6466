"""What was decided for one query, and on what grounds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from feature_store.user_blob import UserState
from serving.blended import Blended
from serving.candidates.answer import OwnAnswer
from serving.content_source import Likeness
from serving.explorer import Propensity
from serving.interests import Interests
from serving.plan import Plan
from serving.query import RecommendationQuery
from serving.ranking.evidence import Evidence

Votes = dict[str, dict[str, float]]


@dataclass(frozen=True)
class Decision:
    """What was decided for one query, and on what grounds.

    Attributes:
        state: what the store knows of the user; None: nothing, or it could not be asked.
        blended: what the online blend proposed; None: it is not there or untrained.
        given: what the sources of a product team answered, by name.
        evidence: source name to its pieces of evidence. Empty where the blend filled the list.
        votes: source name to what it adds to each item it proposes; likewise.
        alike: items described like what the person took last, to their cosine. here: for somebody of whom nothing is known, items
            to their share of what happens in the contexts of the request.
        newcomers: which of the chosen have a place because nobody has taken them yet. likeness: why those are here that are
            here for their content.
        led_by: of the chosen of the blend, to the past item that speaks most for it, where one does.
        chosen: item and score, best first. Items of the blend come before all others but newcomers.
        tail: what the votes of the items behind those of the blend are multiplied by, so that scores fall.
        withheld: better items that may not be shown, by availability or by a filter. dropped: how many were left out, by reason.
        degraded: why the answer is from a lower step; None: it is not.
        round_trips: how often the store was asked.
        plan: how the list was to be made. pinned: those with a fixed place. relaxed: names of the constraints that gave way.
        propensities: how likely each of the chosen was; empty: there was no chance in it.
        sampled: whether the impression carries the features of what is shown.
    """

    query: RecommendationQuery
    interests: Interests
    plan: Plan
    state: UserState | None = None
    blended: Blended | None = None
    given: Mapping[str, OwnAnswer] = field(default_factory=dict)
    evidence: Mapping[str, Sequence[Evidence]] = field(default_factory=dict)
    votes: Votes = field(default_factory=dict)
    alike: Mapping[str, float] = field(default_factory=dict)
    here: Mapping[str, float] = field(default_factory=dict)
    newcomers: frozenset[str] = frozenset()
    likeness: Mapping[str, Likeness | None] = field(default_factory=dict)
    led_by: Mapping[str, str] = field(default_factory=dict)
    chosen: Sequence[tuple[str, float]] = ()
    tail: float = 1.0
    withheld: Sequence[str] = ()
    dropped: Mapping[str, int] = field(default_factory=dict)
    degraded: str | None = None
    round_trips: int = 0
    pinned: frozenset[str] = frozenset()
    relaxed: Sequence[str] = ()
    propensities: Mapping[str, Propensity] = field(default_factory=dict)
    sampled: bool = False

    @property
    def allowed(self) -> frozenset[str] | None:
        """The only items that may come; None: all may."""
        return None if self.query.candidates is None else frozenset(self.query.candidates)
