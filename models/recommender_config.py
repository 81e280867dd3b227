"""Which retrievers a recommender is made of, and their settings, read from a domain's tables."""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from importlib import import_module
from pathlib import Path
from typing import Any, cast

from models.als import ALSConfig, ALSRetriever
from models.bpr import BPRConfig, BPRRetriever
from models.catalogue import Catalogue
from models.co_occurrence import CoOccurrenceConfig, CoOccurrenceRetriever
from models.content import CONTENT, ContentConfig, ContentRetriever
from models.ease import EASEConfig, EASERetriever
from models.errors import ConfigurationError
from models.fusion import FusionConfig
from models.generative_config import GenerativeConfig
from models.graph import GraphConfig, GraphRetriever
from models.interactions import InteractionLog
from models.newcomer_config import NewcomerConfig
from models.popularity import PopularityConfig, PopularityRetriever
from models.repeats import RepeatConfig, RepeatRetriever
from models.retriever import Retriever
from models.sequence_config import SequenceConfig
from models.sequence_linear import SequenceLinearConfig, SequenceLinearRetriever
from models.two_tower_config import TwoTowerConfig
from models.user_knn import UserKNNConfig, UserKNNRetriever
from models.vector_index import IndexConfig

DEFAULT_RETRIEVERS = ("popularity", "co_occurrence", "content", "als", "ease", "sequence", "repeat")
"""What a domain gets that names none."""
RETRIEVERS = (*DEFAULT_RETRIEVERS, "user_knn", "bpr", "sequence_linear", "graph", "two_tower", "generative")
"""Every retriever that can be configured."""
TEXT_AWARE = (CONTENT, "sequence", "two_tower", "generative", "graph")
"""Retrievers that know an item from its text, or from its brand and category, alone."""
TRAINED = {
    "sequence": ("models.sequence_retriever", "SequenceRetriever"),
    "two_tower": ("models.two_tower", "TwoTowerRetriever"),
    "generative": ("models.generative_retriever", "GenerativeRetriever"),
}
"""Retrievers that are trained with torch on what users chose after what: the module and the class of each."""


@dataclass(frozen=True)
class RecommenderConfig:
    """Settings of a `Recommender`."""

    retrievers: tuple[str, ...] = DEFAULT_RETRIEVERS
    """Retrievers to fit, in this order; popularity must be among them, since new users get nothing else."""
    candidates_per_retriever: int = 400
    """Proposals of each retriever for each user."""
    silent_at_zero: bool = False
    """Whether a retriever whose weight is 0 is not asked, but for cold items that it knows by their text: a list costs
    less by its share, and what only it would have proposed to the others is missed."""
    exclude_seen: bool = True
    """Whether the weights are fitted with the items of the history left out, as the lists will be."""
    popularity: PopularityConfig = field(default_factory=PopularityConfig)
    """Settings of recent popularity."""
    repeat: RepeatConfig = field(default_factory=RepeatConfig)
    """Settings of what users chose before."""
    co_occurrence: CoOccurrenceConfig = field(default_factory=CoOccurrenceConfig)
    """Settings of item co-occurrence."""
    content: ContentConfig = field(default_factory=ContentConfig)
    """Settings of text similarity."""
    als: ALSConfig = field(default_factory=ALSConfig)
    """Settings of matrix factorisation."""
    ease: EASEConfig = field(default_factory=EASEConfig)
    """Settings of the closed-form linear model."""
    sequence: SequenceConfig = field(default_factory=SequenceConfig)
    """Settings of the sequence transformer and its training."""
    user_knn: UserKNNConfig = field(default_factory=UserKNNConfig)
    """Settings of the user neighbourhoods."""
    bpr: BPRConfig = field(default_factory=BPRConfig)
    """Settings of Bayesian personalised ranking."""
    sequence_linear: SequenceLinearConfig = field(default_factory=SequenceLinearConfig)
    """Settings of the closed-form linear model that knows the order of events."""
    graph: GraphConfig = field(default_factory=GraphConfig)
    """Settings of the walk over co-purchase, brand and category."""
    two_tower: TwoTowerConfig = field(default_factory=TwoTowerConfig)
    """Settings of the two towers over text vectors and of their training."""
    generative: GenerativeConfig = field(default_factory=GenerativeConfig)
    """Settings of the decoder that writes item IDs."""
    fusion: FusionConfig = field(default_factory=FusionConfig)
    """Search for the fusion weights."""
    newcomers: NewcomerConfig = field(default_factory=NewcomerConfig)
    """How items without interactions find their place."""
    index: IndexConfig = field(default_factory=IndexConfig)
    """Size limits and targets of the index."""

    def __post_init__(self) -> None:
        unknown = sorted(set(self.retrievers) - set(RETRIEVERS))
        if unknown:
            raise ConfigurationError(f"unknown retrievers {unknown}; choose from {', '.join(RETRIEVERS)}")
        if "popularity" not in self.retrievers:
            raise ConfigurationError("retrievers must include 'popularity', which answers for users without a history")
        if len(set(self.retrievers)) != len(self.retrievers):
            raise ConfigurationError(f"a retriever is named twice in {list(self.retrievers)}")
        if self.candidates_per_retriever < 1:
            raise ConfigurationError("candidates_per_retriever must be at least 1")

    @classmethod
    def from_dict(cls, table: Mapping[str, Any]) -> "RecommenderConfig":
        """Build from a plain table such as a domain's TOML.

        Raises:
            ConfigurationError: a key is unknown or a value does not fit.
        """
        known = _checked_keys(cls, table, "recommender")
        sections = {
            "popularity": PopularityConfig,
            "repeat": RepeatConfig,
            "co_occurrence": CoOccurrenceConfig,
            "content": ContentConfig,
            "als": ALSConfig,
            "ease": EASEConfig,
            "sequence": SequenceConfig,
            "user_knn": UserKNNConfig,
            "bpr": BPRConfig,
            "sequence_linear": SequenceLinearConfig,
            "graph": GraphConfig,
            "two_tower": TwoTowerConfig,
            "generative": GenerativeConfig,
            "fusion": FusionConfig,
            "newcomers": NewcomerConfig,
            "index": IndexConfig,
        }
        for name, section in sections.items():
            if name in known:
                known[name] = section(**_checked_keys(section, known[name], name))
        if "retrievers" in known:
            known["retrievers"] = tuple(known["retrievers"])
        return cls(**known)

    def reason_to_rest(self, name: str) -> str | None:
        """Why a configured retriever has nothing to do with these settings, whatever the data; None when it has."""
        if name == "repeat" and self.exclude_seen:
            return "items of the history are left out (exclude_seen), so nothing is recommended again"
        return None

    def reason_to_skip(self, name: str, catalogue: Catalogue, log: InteractionLog) -> str | None:
        """Why a configured retriever cannot be fitted on this catalogue and log, or None when it can."""
        if (reason := self.reason_to_rest(name)) is not None:
            return reason
        if name == "ease":
            return self.ease.reason_to_skip(log)
        if name == "user_knn":
            return self.user_knn.reason_to_skip(log)
        if name == "sequence_linear":
            return self.sequence_linear.reason_to_skip(log)
        if name in ("content", "two_tower", "generative") and catalogue.embeddings is None:
            return "the catalogue has no embeddings; materialise item_embeddings"
        if name in TRAINED and not _has_next_items(log):
            return "no user has two different items yet, so there is no next item to learn from"
        return None


def new_retriever(name: str, config: RecommenderConfig, checkpoint_folder: Path | None) -> Retriever:
    """An unfitted retriever with its settings."""
    made = retriever_class(name)
    if name in TRAINED:
        folder = None if checkpoint_folder is None else checkpoint_folder / name
        return cast(Retriever, made(getattr(config, name), checkpoint_folder=folder))
    return cast(Retriever, made(getattr(config, name)))


def retriever_class(name: str) -> Any:
    """The class of a retriever; torch is imported only for those that are trained with it."""
    if name in TRAINED:
        module, class_name = TRAINED[name]
        return getattr(import_module(module), class_name)
    classes: dict[str, type[Retriever]] = {
        "popularity": PopularityRetriever,
        "repeat": RepeatRetriever,
        "co_occurrence": CoOccurrenceRetriever,
        "content": ContentRetriever,
        "als": ALSRetriever,
        "ease": EASERetriever,
        "user_knn": UserKNNRetriever,
        "bpr": BPRRetriever,
        "sequence_linear": SequenceLinearRetriever,
        "graph": GraphRetriever,
    }
    if name not in classes:
        raise ConfigurationError(f"unknown retriever {name!r}; choose from {', '.join(RETRIEVERS)}")
    return classes[name]


def _has_next_items(log: InteractionLog) -> bool:
    users, items = log.user_rows, log.item_rows
    return bool(((users[1:] == users[:-1]) & (items[1:] != items[:-1])).any())


def _checked_keys(config_class: Any, table: Mapping[str, Any], where: str) -> dict[str, Any]:
    names = [one.name for one in fields(config_class)]
    unknown = sorted(set(table) - set(names))
    if unknown:
        raise ConfigurationError(f"unknown key {unknown[0]!r} in {where}; known are {', '.join(names)}")
    return dict(table)
