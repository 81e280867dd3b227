"""Seconds an epoch of the sequence transformer with sampled softmax, beside RecTools' SASRec on the same data.

Both have two blocks, two heads, d = 64, dropout .5 and windows of 50. What differs, because each does it so:

- Ours puts windows of like length together and pads to the longest of a batch (about 2,048 places); RecTools pads
  128 users to 50 places each.
- Ours shares its negatives within a batch; RecTools draws them for each place. It is measured with the same number
  for each place, and with an eighth of it.
- Ours has the frequency layer beside attention (BSARec) and averages its weights; RecTools' blocks are SASRec's.

Of RecTools so many steps are timed as fit into `--peer-seconds`; its epoch is their mean times the steps of an epoch.
Processor seconds tell what the work costs where other processes want the cores, too.

    python benchmarks/training_speed.py --data DIR --source amazon-reviews --peer-env DIR
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

from dataset_arguments import add_dataset_arguments, load_dataset
from exchange import write_split
from landed_data import LandedData
from peer_environment import RUNNERS, peer_python
from run_facts import write_results

from models.device import choose_device, torch_threads
from models.sequence_config import SequenceConfig
from models.sequence_training import SequenceTrainer
from models.splitting import Split

RESULT = Path(__file__).parent / "results" / "training_speed.json"
BAR_SECONDS = 6.0
"""What an epoch may take on two free cores."""
PEER_BATCH = 128


def main() -> None:
    """Measure both, print and write."""
    arguments = parse()
    begun = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        data = load_dataset(arguments, Path(folder))
        split = data.split("leave-one-out")
        facts: dict[str, Any] = {
            "load_before": round(os.getloadavg()[0], 1),
            "ours": measure_ours(split, data, arguments),
        }
        print(line("Freshet", facts["ours"]), flush=True)
        if arguments.peer_env is not None:
            write_split(split, data.catalogue.item_ids, Path(folder) / "split")
            for negatives in (arguments.negatives, arguments.negatives // 8):
                facts[f"rectools, {negatives} negatives"] = measure_peer(Path(folder), negatives, arguments)
                print(line(f"RecTools, {negatives}", facts[f"rectools, {negatives} negatives"]), flush=True)
    facts |= {"bar_seconds": BAR_SECONDS, "load_after": round(os.getloadavg()[0], 1)}
    write_results(RESULT, facts, begun=begun)
    print(f"wrote {RESULT.name}; the bar is {BAR_SECONDS:g} s an epoch on two free cores")


def parse() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_dataset_arguments(parser, protocol=None, tie_order="p5_position")
    parser.add_argument(
        "--peer-env", type=Path, help="folder of RecTools' environment, made when absent; else ours only"
    )
    parser.add_argument("--peer-seconds", type=float, default=60.0)
    parser.add_argument("--epochs", type=int, default=3, help="timed epochs, after one that warms up")
    parser.add_argument("--negatives", type=int, default=512)
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    return parser.parse_args()


def measure_ours(split: Split, data: LandedData, arguments: argparse.Namespace) -> dict[str, Any]:
    """Wall and processor seconds of whole epochs, the cutting of batches included."""
    config = SequenceConfig(blocks=2, item_source="id", loss="sampled", negatives=arguments.negatives)
    device = choose_device("auto")
    wall, processor = [], []
    with torch_threads(arguments.threads):
        trainer = SequenceTrainer(split.train, data.catalogue, config, seed=1, device=device)
        run = trainer.start()
        for epoch in range(1, arguments.epochs + 2):
            begun = time.perf_counter(), time.process_time()
            trainer.train_epoch(run, epoch)
            device.synchronize()
            wall.append(time.perf_counter() - begun[0])
            processor.append(time.process_time() - begun[1])
    return {
        "settings": asdict(config),
        "positions": trainer.windows.positions,
        "items": len(trainer.vocabulary),
        "steps_per_epoch": trainer.steps_per_epoch,
        "threads": arguments.threads,
        "device": device.description,
        "epoch_seconds": statistics.median(wall[1:]),
        "epoch_seconds_each": wall,
        "epoch_processor_seconds": statistics.median(processor[1:]),
    }


def measure_peer(folder: Path, negatives: int, arguments: argparse.Namespace) -> dict[str, Any]:
    """RecTools in its own environment."""
    python = peer_python(arguments.peer_env, "rectools")
    out = folder / f"{negatives}.json"
    words = [str(python), str(RUNNERS / "speed_rectools.py"), "--data", str(folder / "split"), "--out", str(out)]
    words += ["--negatives", str(negatives), "--max-length", str(SequenceConfig().max_length)]
    words += ["--batch-size", str(PEER_BATCH), "--threads", str(arguments.threads)]
    subprocess.run([*words, "--seconds", str(arguments.peer_seconds)], stdout=sys.stderr, check=True)
    facts: dict[str, Any] = json.loads(out.read_text(encoding="utf-8"))
    return facts


def line(name: str, facts: dict[str, Any]) -> str:
    """One line for people."""
    wall, processor = facts["epoch_seconds"], facts["epoch_processor_seconds"]
    return f"{name}: {wall:.1f} s an epoch of {facts['steps_per_epoch']} steps, {processor:.1f} s of processor time"


if __name__ == "__main__":
    main()
