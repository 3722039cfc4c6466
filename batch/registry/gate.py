"""Whether a candidate may serve: is it better than what serves and than simple baselines, on the same later questions? Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from evaluation.intervals import LEVEL, RESAMPLES, Interval, paired_difference
from feature_store.version_pointers import GateRecord
from schemas.errors import InvalidInput

F64 = NDArray[np.float64]
Mask = NDArray[np.bool_]
BASELINES: Final = ("popularity", "co_visitation", "ease", "ials")


@dataclass(frozen=True)
class GateRules:
    """What is asked of a candidate.

    Attributes:
        margin: relative gain over the serving version that is worth a swap, e.g. 0.01.
        level: confidence of the paired intervals, whose lower bound must be above 0. resamples: of the bootstrap.
        protected: segments on which it must not be worse. tolerance: relative loss that is let pass there.
        least_questions: with fewer nothing is decided. least_in_segment: segments with fewer are left out, and that is said.
        baselines: which must be beaten, by name.
    """

    margin: float = 0.01
    level: float = LEVEL
    resamples: int = RESAMPLES
    protected: tuple[str, ...] = ()
    tolerance: float = 0.05
    least_questions: int = 500
    least_in_segment: int = 200
    baselines: tuple[str, ...] = BASELINES

    def __post_init__(self) -> None:
        shares_fit = self.margin >= 0 and 0 < self.level < 1 and 0 <= self.tolerance < 1
        if not shares_fit or min(self.resamples, self.least_questions, self.least_in_segment) < 1:
            raise InvalidInput(f"{self}: expected margin >= 0, 0 < level < 1, 0 <= tolerance < 1, and counts from 1 on")


class Judged(NamedTuple):
    """The same N questions, in the order of time, answered by several models.

    Attributes:
        candidate: float64[N], how well each was answered, from 0 up, e.g. 1 where the item was among the best 10.
        serving: the same of the version that serves; None: there is none.
        baselines: the same of each baseline.
        segments: bool[N] by name, which questions belong to it.
        users: [N], whose question it was; resamples then draw users, otherwise stretches of time.
    """

    candidate: F64
    serving: F64 | None
    baselines: Mapping[str, F64]
    segments: Mapping[str, Mask] = {}
    users: NDArray[np.int64] | None = None


class Verdict(NamedTuple):
    """Whether the candidate may serve.

    Attributes:
        reasons: sentences: all that speak against it; if nothing does, all that speak for it. Segments left out are named in both.
        figures: what was measured, by name; finite.
    """

    promote: bool
    reasons: tuple[str, ...]
    figures: Mapping[str, float]

    def record(self, at_ms: int, against: str | None) -> GateRecord:
        """For `batch.registry.pointers.record_gate`; `against` is the version that `Judged.serving` came from."""
        return GateRecord(at_ms=at_ms, against=against, promote=self.promote, reasons=self.reasons, figures=dict(self.figures))


class _Finding(NamedTuple):
    """One check: passed or not, None where it could not be made and need not be; the sentence, the figures."""

    passed: bool | None
    sentence: str
    figures: Mapping[str, float] = {}


def judge(judged: Judged, seed: int, rules: GateRules = GateRules()) -> Verdict:
    """Whether the candidate may serve.

    It must (1) beat the serving version by `margin`, mean(candidate) >= (1 + margin) mean(serving), with the lower bound of the
    paired bootstrap's interval of the difference above 0; (2) lose no more than `tolerance` on any protected segment; (3) beat
    every baseline, again with the lower bound above 0. All must hold, so no correction for several comparisons is needed: each one
    alone errs with at most (1 - level) / 2, and so do all together (intersection-union test, Berger, Technometrics 1982).
    Without a serving version (3) alone decides. What cannot be judged is refused with the reason: NaN, too few questions, a
    baseline that was not asked, nothing to compare with.

    Args:
        seed: of the bootstrap; the same seed gives the same verdict.

    Raises:
        InvalidInput: answers to other questions: another length, or more axes than one.

    >>> asked = np.arange(1000)
    >>> good, poor = (asked % 3 == 0).astype(float), (asked % 6 == 0).astype(float)
    >>> verdict = judge(Judged(good, None, {"popularity": poor}), 1, GateRules(baselines=("popularity",)))
    >>> verdict.promote, verdict.reasons
    (True, ('It beats popularity: 0.3340 against 0.1670, difference 0.1670 (0.1620 to 0.1720).',))
    """
    _check_shapes(judged)
    unfit = list(_unfit(judged, rules))
    findings = unfit or [*_against_serving(judged, seed, rules), *_against_baselines(judged, seed, rules)]
    promote = all(finding.passed is not False for finding in findings)
    reasons = tuple(finding.sentence for finding in findings if promote or not finding.passed)
    figures = {name: value for finding in findings for name, value in finding.figures.items()}
    return Verdict(promote, reasons, figures)


def _check_shapes(judged: Judged) -> None:
    columns = {"candidate": judged.candidate, **judged.baselines, **judged.segments}
    optional = {"serving": judged.serving, "users": judged.users}
    columns |= {name: column for name, column in optional.items() if column is not None}
    for name, column in columns.items():
        if column.ndim != 1 or len(column) != len(judged.candidate):
            raise InvalidInput(f"{name}: answers of shape {column.shape}, the candidate's are {judged.candidate.shape}")
    for name, mask in judged.segments.items():
        if mask.dtype != np.bool_:
            raise InvalidInput(f"segment {name!r} is of {mask.dtype}; expected truth values")


def _unfit(judged: Judged, rules: GateRules) -> Iterator[_Finding]:
    """Why nothing can be decided."""
    count = len(judged.candidate)
    if count < rules.least_questions:
        yield _Finding(False, f"Too few questions: {count}, at least {rules.least_questions} are needed.", {"questions": count})
    serving = {} if judged.serving is None else {"the serving version": judged.serving}
    for name, column in {"the candidate": judged.candidate, **serving, **judged.baselines}.items():
        wrong = int(count - np.isfinite(column).sum())
        if wrong:
            yield _Finding(False, f"Of the answers of {name}, {wrong} are not finite.")
    if judged.serving is None and not rules.baselines:
        yield _Finding(False, "There is nothing to compare it with: no serving version, and no baseline to beat.")
    for name in rules.baselines:
        if name not in judged.baselines:
            yield _Finding(False, f"It was not compared with {name}, which must be beaten.")
    for name in rules.protected:
        if name not in judged.segments and judged.serving is not None:
            yield _Finding(False, f"The protected segment {name} is not among the segments.")


def _against_serving(judged: Judged, seed: int, rules: GateRules) -> Iterator[_Finding]:
    if judged.serving is None:
        return
    found = _difference(judged.candidate, judged.serving, judged, seed, rules)
    yield _compared("the serving version", "serving", found, rules.margin)
    for name in rules.protected:
        yield _on_segment(name, judged, judged.serving, seed, rules)


def _against_baselines(judged: Judged, seed: int, rules: GateRules) -> Iterator[_Finding]:
    for name in rules.baselines:
        yield _compared(name, name, _difference(judged.candidate, judged.baselines[name], judged, seed, rules), 0.0)


class _Difference(NamedTuple):
    """Means of candidate and other, and the interval of their difference."""

    ours: float
    theirs: float
    low: float
    high: float

    def figures(self, name: str) -> dict[str, float]:
        named = {"candidate": self.ours, "other": self.theirs, "low": self.low, "high": self.high}
        return {f"{name}.{what}": value for what, value in named.items()}

    def __str__(self) -> str:
        means = f"{self.ours:.4f} against {self.theirs:.4f}"
        return f"{means}, difference {self.ours - self.theirs:.4f} ({self.low:.4f} to {self.high:.4f})"


def _difference(ours: F64, theirs: F64, judged: Judged, seed: int, rules: GateRules, mask: Mask | None = None) -> _Difference:
    chosen = np.ones(len(ours), np.bool_) if mask is None else mask
    users = None if judged.users is None else judged.users[chosen]
    a, b = ours[chosen], theirs[chosen]
    found: Interval = paired_difference(a, b, np.random.default_rng(seed), users, rules.resamples, rules.level)
    return _Difference(float(a.mean()), float(b.mean()), float(found.low[0]), float(found.high[0]))


def _compared(name: str, key: str, found: _Difference, margin: float) -> _Finding:
    if found.low <= 0:
        return _Finding(False, f"It is not surely better than {name}: {found}.", found.figures(key))
    if found.ours < found.theirs * (1 + margin):
        return _Finding(False, f"It is better than {name}, but by less than {margin:.1%}: {found}.", found.figures(key))
    return _Finding(True, f"It beats {name}: {found}.", found.figures(key))


def _on_segment(name: str, judged: Judged, serving: F64, seed: int, rules: GateRules) -> _Finding:
    mask = judged.segments[name]
    count = int(mask.sum())
    if count < rules.least_in_segment:
        return _Finding(None, f"Segment {name} was left out: {count} questions, at least {rules.least_in_segment} are needed.")
    found = _difference(judged.candidate, serving, judged, seed, rules, mask)
    figures = {**found.figures(f"segment.{name}"), f"segment.{name}.questions": count}
    if found.ours < found.theirs * (1 - rules.tolerance):
        return _Finding(False, f"On the segment {name} it loses more than {rules.tolerance:.1%}: {found}.", figures)
    return _Finding(True, f"On the segment {name} it is not worse: {found}.", figures)
