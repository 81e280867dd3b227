"""A recommender as files: one folder for each retriever, the catalogue, what was fitted on top, and the facts."""

from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import numpy as np
import orjson

from models.catalogue_files import load_catalogue, save_catalogue
from models.errors import NotFittedError
from models.newcomers import Newcomers
from models.rankers import load_ranker
from models.recommender_config import RecommenderConfig, retriever_class

if TYPE_CHECKING:
    from models.recommender import Recommender

Kind = TypeVar("Kind", bound="Recommender")

FACTS_FILE = "recommender.json"
RANKER_FOLDER = "ranker"
FORMAT = 1


def write_recommender(recommender: "Recommender", folder: Path) -> None:
    """Write to `folder`; what `read_recommender` makes of it recommends the same."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, retriever in recommender.retrievers.items():
        retriever.save(folder / name)
    own_ranker = recommender.own_ranker
    if own_ranker is not None:
        own_ranker.save(folder / RANKER_FOLDER)
    if recommender.newcomers is not None:
        recommender.newcomers.save(folder)
    save_catalogue(replace(recommender.catalogue, embeddings=None), folder / "catalogue.parquet")
    facts = {
        "format": FORMAT,
        "config": asdict(recommender.config),
        "retrievers": list(recommender.retrievers),
        "weights": recommender.weights,
        "skipped": recommender.skipped,
        "validation_ndcg": recommender.validation_ndcg,
        "methods_compared": recommender.methods_compared,
        "has_ranker": own_ranker is not None,
        "item_counts": recommender.item_counts.tolist(),
    }
    (folder / FACTS_FILE).write_bytes(orjson.dumps(facts, option=orjson.OPT_SORT_KEYS))


def read_recommender(kind: type[Kind], folder: Path) -> Kind:
    """Read what `write_recommender` wrote.

    Raises:
        NotFittedError: the folder holds no recommender, or one of another format.
    """
    path = folder / FACTS_FILE
    if not path.is_file():
        raise NotFittedError(f"{folder} holds no recommender ({FACTS_FILE} is missing); train one first")
    facts = orjson.loads(path.read_bytes())
    if facts.get("format") != FORMAT:
        raise NotFittedError(f"{path} has format {facts.get('format')}, this version reads {FORMAT}; train again")
    # Before the retrievers: on macOS LightGBM must be imported before torch.
    ranker = load_ranker(folder / RANKER_FOLDER) if facts.get("has_ranker") else None
    newcomers = Newcomers.load(folder)
    recommender = kind(RecommenderConfig.from_dict(facts["config"]), load_catalogue(folder / "catalogue.parquet"))
    recommender.retrievers = {name: retriever_class(name).load(folder / name) for name in facts["retrievers"]}
    recommender.weights, recommender.skipped = facts["weights"], facts["skipped"]
    recommender.validation_ndcg = facts["validation_ndcg"]
    recommender.own_ranker, recommender.methods_compared = ranker, facts.get("methods_compared", {})
    recommender.item_counts = np.array(facts["item_counts"], dtype=np.int64)
    recommender.newcomers = newcomers
    return recommender
