"""Seconds a step of RecTools' SASRec with sampled softmax, measured by a callback of its own trainer."""

import argparse
import json
import time
from pathlib import Path

import torch
from protocol import read
from pytorch_lightning import Callback, Trainer, seed_everything
from rectools.dataset import Dataset
from rectools.models import SASRecModel
from rectools.version import VERSION
from run_rectools import to_frame

WARM_UP_STEPS = 2


class Stopwatch(Callback):  # type: ignore[misc]  # types of the library are not read
    """Wall and processor seconds of whole steps, the loading of the batch included; ends the training by the clock."""

    def __init__(self, seconds: float) -> None:
        self.wall: list[float] = []
        self.processor: list[float] = []
        self.steps_per_epoch = 0
        self._limit = seconds
        self._begun = time.perf_counter()
        self._last = (0.0, 0.0)

    def on_train_epoch_start(self, trainer: Trainer, module: object) -> None:
        """Begin an epoch."""
        self.steps_per_epoch = int(trainer.num_training_batches)
        self._last = (time.perf_counter(), time.process_time())

    def on_train_batch_end(self, trainer: Trainer, *_: object) -> None:
        """Note the step; the first ones warm up."""
        now = (time.perf_counter(), time.process_time())
        self.wall.append(now[0] - self._last[0])
        self.processor.append(now[1] - self._last[1])
        self._last = now
        if now[0] - self._begun > self._limit and len(self.wall) > 2 * WARM_UP_STEPS:
            trainer.should_stop = True


def main() -> None:
    """Train for a while and write seconds a step and an epoch."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--negatives", type=int, required=True)
    parser.add_argument("--max-length", type=int, required=True)
    parser.add_argument("--batch-size", type=int, required=True)
    parser.add_argument("--threads", type=int, required=True)
    parser.add_argument("--seconds", type=float, required=True)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    seed_everything(1)
    sizes = {
        "n_blocks": 2,
        "n_heads": 2,
        "n_factors": 64,
        "dropout_rate": 0.5,
        "session_max_len": arguments.max_length,
        "batch_size": arguments.batch_size,
        "loss": "sampled_softmax",
        "n_negatives": arguments.negatives,
    }

    def trainer() -> Trainer:
        return Trainer(
            max_epochs=1,
            callbacks=[Stopwatch(arguments.seconds)],
            enable_progress_bar=False,
            enable_model_summary=False,
            logger=False,
            enable_checkpointing=False,
            devices=1,
            accelerator="cpu",
        )

    model = SASRecModel(**sizes, get_trainer_func=trainer)
    model.fit(Dataset.construct(to_frame(read(arguments.data).train)))
    # The library trains with a copy of the trainer, callbacks included.
    stopwatch = next(one for one in model.fit_trainer.callbacks if isinstance(one, Stopwatch))
    wall, processor = stopwatch.wall[WARM_UP_STEPS:], stopwatch.processor[WARM_UP_STEPS:]
    facts = {
        "version": VERSION,
        "settings": sizes,
        "steps_per_epoch": stopwatch.steps_per_epoch,
        "measured_steps": len(wall),
        "epoch_seconds": sum(wall) / len(wall) * stopwatch.steps_per_epoch,
        "epoch_processor_seconds": sum(processor) / len(processor) * stopwatch.steps_per_epoch,
    }
    arguments.out.write_text(json.dumps(facts))


if __name__ == "__main__":
    main()
