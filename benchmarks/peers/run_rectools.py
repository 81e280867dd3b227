"""RecTools: EASE, SASRec and BERT4Rec, and its metrics."""

import time
import warnings
from collections.abc import Callable
from typing import Protocol

import numpy as np
import pandas as pd
from protocol import TOP_K, Data, Fit, Fitted, main, top_lists
from rectools import Columns
from rectools.dataset import Dataset, Interactions
from rectools.metrics import MAP, MRR, NDCG, HitRate, Recall
from rectools.models import EASEModel
from rectools.version import VERSION

warnings.filterwarnings("ignore")

SIZES = {"n_blocks": 2, "n_heads": 2, "n_factors": 64, "session_max_len": 20, "dropout_rate": 0.5, "batch_size": 128}
LOSS = {"loss": "sampled_softmax", "n_negatives": 64, "lr": 0.001}
MOST_EPOCHS = 60


class Ranker(Protocol):
    """What the models of the library have in common."""

    def recommend(self, *, users: np.ndarray, dataset: Dataset, k: int, filter_viewed: bool) -> pd.DataFrame:
        """A long table of ranked items."""
        ...


def to_frame(steps: pd.DataFrame) -> pd.DataFrame:
    """Interactions with the place in the history as their time."""
    moments = pd.Timestamp("2000-01-01") + pd.to_timedelta(steps["place"], unit="s")
    frame = steps.rename(columns={"user": Columns.User, "item": Columns.Item}).drop(columns="place")
    return frame.assign(**{Columns.Weight: 1.0}, **{Columns.Datetime: moments})


def recommender(model: Ranker, data: Data, trained: Dataset) -> Callable[[str], np.ndarray]:
    """Part to lists of a model that was fitted on `trained`."""
    # Its matrices have the items of the training part, in that order; items that only a history holds have no row.
    items = data.train["item"].unique()

    def lists(part: str) -> np.ndarray:
        users, history = data.users(part), data.history[part]
        frame = to_frame(history[history["item"].isin(items)])
        people = trained.user_id_map.add_ids(frame[Columns.User].unique(), raise_if_already_present=False)
        known = Dataset(people, trained.item_id_map, Interactions.from_raw(frame, people, trained.item_id_map))
        rows = model.recommend(users=users, dataset=known, k=TOP_K, filter_viewed=True)
        return top_lists(rows.rename(columns={Columns.User: "user", Columns.Item: "item", Columns.Rank: "rank"}), users)

    return lists


def ease(data: Data, seconds: float) -> Fitted:
    """EASE with the library's default regularisation."""
    model = EASEModel(regularization=500.0)
    trained = Dataset.construct(to_frame(data.train))
    model.fit(trained)
    return Fitted(recommender(model, data, trained), {"regularization": 500.0})


def transformer(kind: str) -> Fit:
    """SASRec or BERT4Rec with sampled softmax, ended by the clock."""

    def fit(data: Data, seconds: float) -> Fitted:
        from pytorch_lightning import Callback, Trainer, seed_everything
        from rectools.models import BERT4RecModel, SASRecModel

        seed_everything(1)

        class ProcessorLimit(Callback):  # type: ignore[misc]  # types of the library are not read
            """Ends the training when the process has used its seconds, however busy the machine is with others."""

            def on_train_batch_end(self, trainer: Trainer, *_: object) -> None:
                """Look at the clock of the process."""
                if time.process_time() - begun > seconds:
                    trainer.should_stop = True

        def trainer() -> Trainer:
            return Trainer(
                max_epochs=MOST_EPOCHS,
                callbacks=[ProcessorLimit()],
                enable_progress_bar=False,
                enable_model_summary=False,
                logger=False,
                enable_checkpointing=False,
                devices=1,
                accelerator="cpu",
            )

        model_class = SASRecModel if kind == "sasrec" else BERT4RecModel
        model = model_class(**SIZES, **LOSS, get_trainer_func=trainer)
        trained = Dataset.construct(to_frame(data.train))
        begun = time.process_time()
        model.fit(trained)
        spent = time.process_time() - begun
        done = model.fit_trainer
        settings = {
            **SIZES,
            **LOSS,
            "epochs": round(done.global_step / done.num_training_batches, 2),
            "steps": done.global_step,
            "is_ended_by_clock": done.global_step < MOST_EPOCHS * done.num_training_batches,
            "train_processor_seconds": round(spent, 1),
        }
        return Fitted(recommender(model, data, trained), settings)

    return fit


def check(lists: np.ndarray, targets: pd.DataFrame, k: int) -> dict[str, float]:
    """Means of the library's metrics."""
    users = np.unique(targets["user"])
    rows = pd.DataFrame(
        {
            Columns.User: np.repeat(users, lists.shape[1]),
            Columns.Item: lists.ravel(),
            Columns.Rank: np.tile(np.arange(1, lists.shape[1] + 1), len(users)),
        }
    )
    wanted = targets.rename(columns={"user": Columns.User, "item": Columns.Item})
    metrics = {
        "recall": Recall(k=k),
        "ndcg": NDCG(k=k, divide_by_achievable=True),
        "mrr": MRR(k=k),
        "hit_rate": HitRate(k=k),
        "map": MAP(k=k),
    }
    found = rows[rows[Columns.Item] >= 0]
    return {f"{name}@{k}": float(metric.calc(found, wanted)) for name, metric in metrics.items()}


if __name__ == "__main__":
    main({"EASE": ease, "SASRec": transformer("sasrec"), "BERT4Rec": transformer("bert4rec")}, check, VERSION)
