"""Items that nobody has touched: recall for the users who take one next, and what they cost all others.

Items are held out of every history by a fixed seed, as if they had just been listed. Two ways to show such items:
places reserved for them in every list, or each where its chance to be taken says, with some lift. How many places and
how much lift is chosen on validation users with other held-out items, then measured on the test. Encoders are trained
without either set. The cost is against lists without any of these items.

    python benchmarks/cold_items.py --data DIR --source amazon-reviews --tie-order position
"""

import argparse
import tempfile
import time
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
from dataset_arguments import add_dataset_arguments, dataset_file, load_dataset
from encoder_vectors import add_encoder_arguments, train_stages
from landed_data import LandedData
from run_facts import write_results

from models.bootstrap import bootstrap_intervals
from models.catalogue import Catalogue
from models.cold_slots import (
    SlotTradeoff,
    choose_slots,
    cold_users,
    draw_items,
    hide_items,
    hold_out_items,
    measure_lifts,
    measure_slots,
    measure_without,
    slot_options,
)
from models.content import ContentConfig, ContentRetriever
from models.holdout_ranking import rank_alone, rank_holdout
from models.interactions import FloatArray, LongArray
from models.metrics import metrics_per_user
from models.recommender import Recommender
from models.recommender_config import RecommenderConfig
from models.reranking import RerankRules
from models.splitting import Holdout, Split

RESULTS = Path(__file__).parent / "results" / "cold_items"
K = 10
DECAYS = (0.5, 1.0, 2.0, 4.0, 0.0)
LIFTS = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0, 1.2)


def main() -> None:
    """Hold items out, choose the places on validation, and measure them on the test."""
    arguments = parse()
    begun = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        data = load_dataset(arguments, Path(folder))
        split = data.split(arguments.protocol)
        items = draw_items(split.train, arguments.items, seed=arguments.seed)
        others = draw_items(split.train, arguments.items, seed=arguments.seed + 1, without=[items])
        both = hold_out_items(split, np.concatenate([items, others]))
        vectors = item_vectors(data, both, arguments, Path(folder))
        facts = measure(data, split, items, others, data.catalogue.with_embeddings(vectors), arguments)
    path = RESULTS / dataset_file(arguments, data)
    write_results(path, facts, begun=begun)
    print(f"wrote {path}")


def parse() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_dataset_arguments(parser)
    add_encoder_arguments(parser)
    parser.add_argument("--retrievers", nargs="*", help="only these; default: those of the domain")
    parser.add_argument("--items", type=int, default=415, help="items held out")
    parser.add_argument("--most", type=int, default=5, help="most places reserved")
    parser.add_argument("--tolerance", type=float, default=0.0005, help="recall that all users may lose")
    parser.add_argument("--seed", type=int, default=1)
    return parser.parse_args()


def item_vectors(data: LandedData, both: Split, arguments: argparse.Namespace, scratch: Path) -> FloatArray:
    """Item vectors of an encoder that has never seen a held-out item in use."""
    key = f"{arguments.protocol}.cold{arguments.items}-{arguments.seed}"
    named = argparse.Namespace(**{**vars(arguments), "protocol": key})
    return train_stages(data, both, named, scratch).served


def measure(
    data: LandedData,
    split: Split,
    items: LongArray,
    others: LongArray,
    catalogue: Catalogue,
    arguments: argparse.Namespace,
) -> dict[str, object]:
    """Choose on validation with `others` held out, then measure on the test with `items` held out."""
    rules = RerankRules(exclude_seen=data.domain.exclude_seen)
    options = slot_options(K, arguments.most)
    config = RecommenderConfig.from_dict({"exclude_seen": data.domain.exclude_seen, **data.domain.recommender})
    config = replace(config, newcomers=replace(config.newcomers, lift=config.newcomers.lift or 0.0))
    if arguments.retrievers:
        config = replace(config, retrievers=tuple(arguments.retrievers))
    choosing = hold_out_items(split, others)
    config = replace(config, content=best_content(choosing, others, catalogue, config.content, arguments.seed))
    chooser = Recommender.fit(choosing.train, choosing.validation, catalogue, config, seed=arguments.seed)
    tried = tradeoffs(chooser, choosing.validation, others, rules, options)
    chosen = choose_slots(tried, tolerance=arguments.tolerance)
    judging = hold_out_items(split, items)
    judge = Recommender.fit(judging.train, judging.validation, catalogue, config, seed=arguments.seed)
    tested = tradeoffs(judge, judging.test, items, rules, options)
    if chosen is tried[0]:
        judge.refresh(hide_items(judge.catalogue, items))
    elif chosen.lift is None:
        rules, judge.newcomers = replace(rules, cold_places=chosen.places), None
    elif judge.newcomers is not None:
        judge.newcomers = replace(judge.newcomers, lift=chosen.lift)
    ranked = rank_holdout(judge, judging.test, rules, top_k=K)
    recall = metrics_per_user(ranked, judging.test.targets, (K,))[f"recall@{K}"]
    is_cold = cold_users(judging.test, items)
    interval = bootstrap_intervals(recall[is_cold][:, None], seed=0)[0]
    cost = tested[0].recall - float(recall.mean())
    print(
        f"chosen on validation: {named(chosen)}; test, {int(is_cold.sum())} users with a cold target: "
        f"recall@{K} {interval.value:.4f} [{interval.low:.4f}, {interval.high:.4f}], cost to all users {cost:+.4f}"
    )
    return {
        "dataset": arguments.name or data.domain.name,
        "held_out_items": arguments.items,
        "cold_users": int(is_cold.sum()),
        "chosen_places": list(chosen.places),
        "chosen_lift": chosen.lift,
        "content": asdict(config.content),
        "newcomers": asdict(config.newcomers),
        "cold_recall@10": asdict(interval),
        "cost": cost,
        "validation": [asdict(option) for option in tried],
        "test": [asdict(option) for option in tested],
        "weights": judge.weights,
    }


def tradeoffs(
    recommender: Recommender, holdout: Holdout, items: LongArray, rules: RerankRules, options: list[tuple[int, ...]]
) -> list[SlotTradeoff]:
    """Lists without the held-out items, then with them: placed by chance, competing by text, in reserved places."""
    found = [measure_without(recommender, holdout, items, rules, k=K)]
    fitted = recommender.newcomers
    if fitted is not None:
        found += measure_lifts(recommender, holdout, items, rules, LIFTS, k=K)
    recommender.newcomers = None
    found += measure_slots(recommender, holdout, items, rules, options, k=K)
    recommender.newcomers = fitted
    for option in found[1:]:
        cost = found[0].recall - option.recall
        print(f"{named(option)}: cold {option.cold_recall:.4f}, all {option.recall:.4f}, cost {cost:+.4f}", flush=True)
    return found


def named(option: SlotTradeoff) -> str:
    """An option in words."""
    if option.lift is not None:
        return f"placed by chance, lift {option.lift:g}"
    return f"{len(option.places)} places reserved"


def best_content(
    split: Split, items: LongArray, catalogue: Catalogue, config: ContentConfig, seed: int
) -> ContentConfig:
    """The recency decay whose text lists of held-out items alone serve their validation users best."""
    users = cold_users(split.validation, items)
    only = hide_items(catalogue, np.setdiff1d(np.arange(catalogue.count), items))

    def quality(decay: float) -> float:
        content = ContentRetriever(replace(config, recency_decay=decay))
        content.fit(split.train, catalogue, seed=seed)
        ranked = rank_alone(content, split.validation, only, top_k=3)
        return float(metrics_per_user(ranked, split.validation.targets, (3,))["recall@3"][users].mean())

    found = {decay: quality(decay) for decay in DECAYS}
    print("recall@3 of held-out items by text alone: " + ", ".join(f"decay {d:g} {v:.4f}" for d, v in found.items()))
    return replace(config, recency_decay=max(found, key=lambda decay: found[decay]))


if __name__ == "__main__":
    main()
