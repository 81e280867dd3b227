"""The asset groups in the order in which data flows through them, and what each asset is made of."""

from assets import evaluation, features, index, item_statistics, language_model, recommender, serving, warehouse
from assets.builds import Recipe

INGESTION, WAREHOUSE, FEATURES, LANGUAGE_MODEL, RECOMMENDER, EVALUATION, INDEX, SERVING = (
    "ingestion",
    "warehouse",
    "features",
    "language_model",
    "recommender",
    "evaluation",
    "index",
    "serving",
)

GROUPS = (INGESTION, WAREHOUSE, FEATURES, LANGUAGE_MODEL, RECOMMENDER, EVALUATION, INDEX, SERVING)
"""All groups, upstream first."""

RECIPES: dict[str, dict[str, Recipe]] = {
    WAREHOUSE: warehouse.RECIPES,
    FEATURES: {**features.RECIPES, **item_statistics.RECIPES},
    LANGUAGE_MODEL: language_model.RECIPES,
    RECOMMENDER: recommender.RECIPES,
    EVALUATION: evaluation.RECIPES,
    INDEX: index.RECIPES,
    SERVING: serving.RECIPES,
}
"""Recipes of the assets of each group, upstream first. Ingestion has none: the ledger of files decides there."""

TRAINED_GROUPS = (LANGUAGE_MODEL, RECOMMENDER, EVALUATION)
"""Groups that `retraining` rebuilds; the daily refresh leaves their trained assets alone until they are due."""
