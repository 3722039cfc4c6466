"""What a training begins with: the weights of the serving version, of one that was asked for, or none; and why."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Final, NamedTuple

from batch.models.interface import Begun, Shuffles, Watch, Weights
from batch.weights import read_weights, weights_path
from feature_store.version_manifest import is_version_name
from feature_store.version_pointers import read_state
from schemas.errors import InvalidInput


class Start(NamedTuple):
    """Where a training begins.

    Attributes:
        origin: the version or file the weights are of, "" for none.
        weights: None: there are none that may be used. note: why not.
    """

    origin: str
    weights: Weights | None
    note: str = ""


SCRATCH: Final = Start("", None)


class Diary:
    """What a training told of its beginning and its end.

    Attributes:
        start: what it was given. begun: what became of that; None: the model has no use for weights.
        weights: what it ended with; None: the model keeps none. shuffles: groups of its features; empty: it has none.
    """

    def __init__(self, start: Start) -> None:
        self.start = start
        self.begun = Begun(False, start.note) if start.weights is None else None
        self.weights: Weights | None = None
        self.shuffles: Shuffles = {}

    def watch(self, usual: Watch) -> Watch:
        """The same with this diary listening."""
        return usual._replace(
            start=self.start.weights, begun=self._note_begun, finished=self._note_weights, features=self._note_features
        )

    def _note_begun(self, begun: Begun) -> None:
        self.begun = begun

    def _note_weights(self, weights: Weights) -> None:
        self.weights = weights

    def _note_features(self, shuffles: Shuffles) -> None:
        self.shuffles = shuffles

    @property
    def parent(self) -> str | None:
        """The origin, if the training began with its weights."""
        return self.start.origin if self.begun is not None and self.begun.warm else None

    @property
    def told(self) -> str:
        """For a person; "" where there is nothing to tell, as of models without weights to begin with."""
        if self.weights is None:
            return "the model has no use for weights" if self.start.weights is not None else ""
        if self.begun is None or not self.begun.note:
            return ""
        return (
            f"began with {self.start.origin}: {self.begun.note}" if self.begun.warm else f"trained from scratch: {self.begun.note}"
        )


def from_serving(root: Path, model: str, judged_from_ms: int) -> Start:
    """The weights of the version that serves, if they are kept and nothing that is judged on had a part in them."""
    serving = read_state(root, model).serving
    if serving is None:
        return Start("", None, "no version serves yet")
    path = weights_path(root, model, serving)
    if not path.exists():
        return Start("", None, f"the weights of {serving} were not kept")
    try:
        return _unseen(serving, read_weights(path), judged_from_ms)
    except InvalidInput as error:
        return Start("", None, str(error))


def from_named(named: str, root: Path | None, model: str, judged_from_ms: int) -> Start:
    """The weights of a published version, or of a file that `--out` left.

    Raises:
        InvalidInput: there is none of that name, or no folder of models to look for it in.
    """
    if not is_version_name(named):
        return _unseen(named, read_weights(Path(named).expanduser()), judged_from_ms)
    if root is None:
        raise InvalidInput(f"--from {named}: no folder of models to look for it in; give --root, or set FRESHET_MODELS")
    return _unseen(named, read_weights(weights_path(root, model, named)), judged_from_ms)


def _unseen(origin: str, weights: Weights, judged_from_ms: int) -> Start:
    """Weights that know what they would be judged on would look better than they are."""
    if weights.last_ms < judged_from_ms:
        return Start(origin, weights)
    until, since = (f"{datetime.fromtimestamp(ms / 1000, UTC):%Y-%m-%d %H:%M}" for ms in (weights.last_ms, judged_from_ms))
    return Start("", None, f"{origin} knows what happened until {until}, and is judged on what happened since {since}")
