"""The text encoder of the domain, and the vectors of the items: pretrained, then fine-tuned, then applied.

Both trainings read the training split only, so the evaluation sees no leak. Only items whose text or encoder changed
are encoded again.
"""

from collections.abc import Callable
from dataclasses import asdict
from importlib.metadata import version as installed
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dagster import AssetExecutionContext, AssetKey, MaterializeResult, asset

from assets.builds import Recipe, built_version, data_as_of, fingerprint, last_build, recorded_build
from assets.embedding_updates import refresh_embeddings
from assets.encoder_continuation import end_of, find_parent, origin_of
from assets.encoder_stages import ENCODER_KIND
from assets.model_inputs import read_catalogue, read_event_types, read_log
from assets.resources import ArtifactResource, DomainResource, EncoderResource, LakeResource, RegistryResource

if TYPE_CHECKING:
    from assets.lake import Lake
    from models.catalogue import Catalogue
    from models.encoder_config import FinetuningConfig
    from models.encoder_training import TrainedEncoder
    from models.engagement_pairs import EngagementPairs
    from models.interactions import InteractionLog
    from models.registry import Registry, RegistryRun

PRETRAINED, FINETUNED, EMBEDDINGS = "pretrained_encoder", "finetuned_encoder", "item_embeddings"
EXPERIMENT = "language-model"
MODEL_NAMES = {PRETRAINED: "freshet-pretrained-encoder", FINETUNED: "freshet-encoder"}
"""Registered models by the asset that makes them."""

RECIPES = {
    PRETRAINED: Recipe(
        "1",
        tables=("features.item_texts", "features.training_interactions"),
        domain_keys=("pretraining", "seed"),
        is_trained=True,
    ),
    FINETUNED: Recipe(
        "1",
        tables=("features.item_texts", "features.training_interactions"),
        builds=(PRETRAINED,),
        domain_keys=("finetuning", "pretraining", "seed"),
        is_trained=True,
    ),
    EMBEDDINGS: Recipe("1", tables=("features.item_texts",), builds=(FINETUNED,)),
}
"""What each asset of the group is made of; the encoder's name counts for all of them."""

_TEXTS = "SELECT item_id, text FROM features.item_texts"


@asset(
    deps=[AssetKey("item_texts"), AssetKey("training_interactions")],
    group_name="language_model",
    kinds={"pytorch", "huggingface", "mlflow"},
    owners=["team:ml"],
    code_version="1",
)
def pretrained_encoder(
    lake: LakeResource,
    domain: DomainResource,
    artifacts: ArtifactResource,
    registry: RegistryResource,
    encoder: EncoderResource,
) -> MaterializeResult[Any]:
    """The configured encoder after domain-adaptive pretraining on item texts and behaviour."""
    from models.behaviour_text import render_behaviour
    from models.encoder_config import PretrainingConfig
    from models.encoder_pretraining import Alignment, pretrain

    chosen = domain.domain
    config = PretrainingConfig.from_mapping(chosen.pretraining)
    catalogue = read_catalogue(lake.lake, with_embeddings=False)
    texts = lake.lake.frame(f"{_TEXTS} ORDER BY item_id")["text"].tolist()
    log = read_log(lake.lake, catalogue, splits=("train",))
    behaviour = render_behaviour(log, catalogue.titles.tolist())
    item_texts = _texts_in_order(lake.lake, catalogue)
    alignment = Alignment(_pairs(log, catalogue, item_texts, chosen.seed), item_texts)

    def train(options: dict[str, Any]) -> "TrainedEncoder":
        options |= {"alignment": alignment, "sha256": encoder.sha256}
        return pretrain(texts + behaviour, encoder.spec, config, seed=chosen.seed, **options)

    return _build(PRETRAINED, train, asdict(config), lake, domain, artifacts, registry, encoder)


@asset(
    deps=[AssetKey(PRETRAINED), AssetKey("item_texts"), AssetKey("training_interactions")],
    group_name="language_model",
    kinds={"pytorch", "huggingface", "mlflow"},
    owners=["team:ml"],
    code_version="1",
)
def finetuned_encoder(
    lake: LakeResource,
    domain: DomainResource,
    artifacts: ArtifactResource,
    registry: RegistryResource,
    encoder: EncoderResource,
) -> MaterializeResult[Any]:
    """The pretrained encoder after contrastive fine-tuning on items that the same users chose.

    Where the domain's `finetuning.continue_rounds` allows it, the former fine-tuned encoder goes on with the pairs of
    new days instead, beside a replay of old ones.
    """
    from models.continued_learning import continue_finetuning
    from models.encoder_config import FinetuningConfig
    from models.encoder_finetuning import finetune

    chosen = domain.domain
    config = FinetuningConfig.from_mapping(chosen.finetuning)
    catalogue = read_catalogue(lake.lake, with_embeddings=False)
    texts = _texts_in_order(lake.lake, catalogue)
    log = read_log(lake.lake, catalogue, splits=("train",))
    pairs = _pairs(log, catalogue, texts, chosen.seed, **_pair_options(lake.lake, catalogue, config))
    base = artifacts.store.path(ENCODER_KIND, built_version(lake.lake, PRETRAINED))
    last, until = last_build(lake.lake, FINETUNED), end_of(log)
    parent = find_parent(artifacts.store, last.version if last else "", config, chosen.seed, encoder.spec, until)

    def train(options: dict[str, Any]) -> "TrainedEncoder":
        if config.continue_rounds:
            options |= {"origin": asdict(origin_of(parent, encoder.spec, until))}
        if parent is None:
            return finetune(pairs, texts, base, config, seed=chosen.seed, **options)
        is_new = log.event_ats[pairs.events] >= parent.origin.trained_until
        return continue_finetuning(pairs, is_new, texts, parent.folder, config, seed=chosen.seed, **options)

    tags = {"continued_from": parent.version if parent else ""}
    return _build(FINETUNED, train, asdict(config), lake, domain, artifacts, registry, encoder, tags)


@asset(
    deps=[AssetKey(FINETUNED), AssetKey("item_texts")],
    group_name="language_model",
    kinds={"pytorch", "ducklake"},
    owners=["team:ml"],
    code_version="1",
)
def item_embeddings(
    context: AssetExecutionContext,
    lake: LakeResource,
    domain: DomainResource,
    artifacts: ArtifactResource,
    encoder: EncoderResource,
) -> MaterializeResult[Any]:
    """One row per item with a text: its unit vector; items whose text and encoder are unchanged keep theirs."""
    from models.device import choose_device, torch_threads
    from models.encoder_config import FinetuningConfig
    from models.language_model import TextEncoder

    version = built_version(lake.lake, FINETUNED)
    tokens = FinetuningConfig.from_mapping(domain.domain.finetuning).max_tokens
    with recorded_build(lake.lake, domain.domain, EMBEDDINGS, RECIPES[EMBEDDINGS], encoder.spec) as build:
        folder = artifacts.store.path(ENCODER_KIND, version)

        def encode(texts: list[str]) -> Any:
            with torch_threads(encoder.threads or None):
                model = TextEncoder.load(folder, device=choose_device(encoder.device), max_tokens=tokens)
                return model.encode(texts, on_progress=lambda done: context.log.debug(f"{done} of {len(texts)} texts"))

        update = refresh_embeddings(lake.lake, version, encode)
        build.version, build.snapshot = version, update.snapshot
    return MaterializeResult(metadata={"encoder_version": version, **asdict(update)})


def _texts_in_order(lake: "Lake", catalogue: "Catalogue") -> list[str]:
    """Text of every item of the catalogue, empty where it has none."""
    by_item = lake.frame(_TEXTS).set_index("item_id")["text"]
    ordered: list[str] = by_item.reindex(catalogue.item_ids).fillna("").tolist()
    return ordered


def _pairs(
    log: "InteractionLog", catalogue: "Catalogue", texts: list[str], seed: int, **options: Any
) -> "EngagementPairs":
    """Pairs of items that the same users chose, of those with a text."""
    import numpy as np

    from models.engagement_pairs import engagement_pairs

    has_text = np.array([bool(text.strip()) for text in texts])
    return engagement_pairs(log, catalogue, np.random.default_rng(seed), has_text=has_text, **options)


def _pair_options(lake: "Lake", catalogue: "Catalogue", config: "FinetuningConfig") -> dict[str, Any]:
    """Which pairs fine-tuning makes, with the types of their events where it predicts those."""
    types = read_event_types(lake, catalogue, splits=("train",)) if config.event_type_weight else None
    return {"window": config.window, "pairs_per_user": config.pairs_per_user, "event_types": types}


def _build(
    name: str,
    train: "Callable[[dict[str, Any]], TrainedEncoder]",
    parameters: dict[str, Any],
    lake: LakeResource,
    domain: DomainResource,
    artifacts: ArtifactResource,
    registry: RegistryResource,
    encoder: EncoderResource,
    more_tags: dict[str, str] | None = None,
) -> MaterializeResult[Any]:
    """Train one stage inside an MLflow run, store its weights by content, register them, and record the build."""
    from models.device import choose_device

    recipe, device = RECIPES[name], choose_device(encoder.device)
    with recorded_build(lake.lake, domain.domain, name, recipe, encoder.spec) as build:
        build.as_of, build.snapshot = data_as_of(lake.lake), lake.lake.current_snapshot()
        tags = {
            "encoder": encoder.spec,
            "device": device.description,
            "snapshot": str(build.snapshot),
            "as_of": build.as_of.isoformat(),
            "git_revision": encoder.revision,
            "code_version": recipe.code_version,
            **(more_tags or {}),
            **{f"version_{package}": installed(package) for package in ("torch", "transformers", "peft")},
        }
        key = fingerprint(lake.lake, domain.domain, recipe, encoder.spec)
        mlflow = registry.registry()
        with mlflow.run(EXPERIMENT, name, fingerprint=key, tags=tags) as run, artifacts.store.scratch() as scratch:
            run.log_parameters({**parameters, "seed": domain.domain.seed, "domain": domain.domain.name})
            options = {
                "folder": scratch / ENCODER_KIND,
                "checkpoint_folder": artifacts.work_folder(name),
                "device": device,
                "threads": encoder.threads or None,
                "on_point": lambda point: run.log_metrics(_losses(point), point.step),
            }
            trained = train(options)
            build.version = artifacts.store.put(trained.folder, ENCODER_KIND)
            folder = artifacts.store.path(ENCODER_KIND, build.version)
            facts = _log_report(run, trained)
            facts["registered_version"] = _register(mlflow, run, name, folder, build.version, tags)
    artifacts.clear_work(name)
    return MaterializeResult(metadata={"version": build.version, "snapshot": build.snapshot, **facts})


def _losses(point: Any) -> dict[str, float]:
    named = {"train_loss": point.train_loss, "held_out_loss": point.held_out_loss}
    return {name: value for name, value in named.items() if value is not None}


def _log_report(run: "RegistryRun", trained: "TrainedEncoder") -> dict[str, Any]:
    """Log throughput and outcome; returns the facts for the asset's metadata."""
    report = trained.report
    figures = {
        "steps": report.steps,
        "best_step": report.best_step,
        "texts_per_second": report.texts_per_second,
        "tokens_per_second": report.tokens_per_second,
        "training_seconds": report.seconds,
        **trained.figures,
    }
    run.log_metrics(figures)
    left_out = {f"skipped_{task}": reason for task, reason in trained.skipped_tasks.items()}
    run.log_tags({"skipped": report.skipped, "resumed_from": str(report.resumed_from), **left_out})
    losses = [point.held_out_loss for point in report.curve if point.held_out_loss is not None]
    if losses:
        figures |= {"first_held_out_loss": losses[0], "best_held_out_loss": min(losses)}
    return {**figures, "skipped": report.skipped, "resumed_from": report.resumed_from, **left_out}


def _register(
    registry: "Registry", run: "RegistryRun", name: str, folder: Path, version: str, tags: dict[str, str]
) -> int:
    """Register a stage's weights as `challenger` with a signature; returns the registered version."""
    import numpy as np
    import pandas as pd
    from transformers import AutoConfig

    size = AutoConfig.from_pretrained(folder, local_files_only=True).hidden_size
    return registry.register(
        MODEL_NAMES[name],
        folder,
        run=run,
        content_version=version,
        loader_module="models.language_model",
        input_example=pd.DataFrame({"text": ["a text", "another text"]}),
        output_example=np.zeros((2, size), dtype=np.float32),
        tags=tags,
    ).version
