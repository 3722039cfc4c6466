"""All batch models by the names that people type; each is imported only when it is asked for."""

from __future__ import annotations

from importlib import import_module
from typing import Final, NamedTuple

from batch.models.interface import BatchModel
from schemas.errors import InvalidInput


class Entry(NamedTuple):
    """A model that can be trained.

    Attributes:
        name: as people type it. where: `module:Class`.
        deep: trained by gradients; the others are the baselines that it must beat to be worth its cost.
    """

    name: str
    where: str
    deep: bool


CATALOGUE: Final = (
    Entry("popularity", "batch.models.popularity:Popularity", deep=False),
    Entry("popularity_all_time", "batch.models.popularity:PopularityAllTime", deep=False),
    Entry("co_visitation", "batch.models.co_visitation:CoVisitation", deep=False),
    Entry("ease", "batch.models.ease:Ease", deep=False),
    Entry("ials", "batch.models.ials:ImplicitAls", deep=False),
    Entry("session_rnn", "batch.models.session_rnn:SessionRnn", deep=True),
    Entry("linear_recurrence", "batch.models.linear_recurrence:LinearRecurrence", deep=True),
    Entry("two_tower", "batch.models.two_tower:TwoTower", deep=True),
    Entry("item2vec", "batch.models.item2vec:Item2Vec", deep=True),
    Entry("mult_dae", "batch.models.autoencoders:MultDAE", deep=True),
    Entry("mult_vae", "batch.models.autoencoders:MultVAE", deep=True),
    Entry("autorec", "batch.models.autorec:AutoRec", deep=True),
    Entry("neumf", "batch.models.neumf:NeuMF", deep=True),
    Entry("wide_deep", "batch.models.wide_deep:WideDeep", deep=True),
)  # a new model is one more line here
NAMES: Final = tuple(entry.name for entry in CATALOGUE)


def entry(name: str) -> Entry:
    """The entry of that name.

    Raises:
        InvalidInput: there is none; the message lists the names.
    """
    found = [known for known in CATALOGUE if known.name == name]
    if not found:
        raise InvalidInput(f"there is no batch model {name!r}; known: {', '.join(NAMES)}")
    return found[0]


def model_class(name: str) -> type[BatchModel]:
    """The model of that name.

    Raises:
        InvalidInput: no such model, or one whose code or library is not installed.
    """
    module, _, attribute = entry(name).where.partition(":")
    try:
        found: type[BatchModel] = getattr(import_module(module), attribute)
    except (ImportError, AttributeError) as error:
        raise InvalidInput(
            f"model {name} cannot be loaded ({error}); is the extra `batch` installed (pip install 'freshet[batch]')?"
        ) from error
    return found
