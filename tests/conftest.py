"""Fixtures that more than one folder of tests needs."""

import itertools
import os
import socket
import threading
import uuid
from collections.abc import Callable, Generator, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest

from assets.lake import Lake

POSTGRES = "postgresql://postgres@127.0.0.1:5432"
_ROOT = Path(__file__).parents[1]
_SERVICES = {"integration": ("PostgreSQL", 5432), "redis": ("Redis", 6379)}
"""Service that tests with a marker need, and its port on this machine."""

WORDS = [
    *("red", "blue", "green", "lipstick", "polish", "shampoo", "for", "hair", "nails", "lips"),
    *("chose", "then", "by", "item"),
]
SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """With CI=true, a test may not be skipped when what it needs is there."""
    report = yield
    is_skip = report.skipped and not hasattr(report, "wasxfail")
    if is_skip and os.environ.get("CI") == "true" and (present := _present_needs(item)):
        report.outcome = "failed"
        report.longrepr = f"skipped although {present}: {report.longrepr}"
    return report


def _present_needs(item: pytest.Item) -> str:
    """What the test needs and this machine has; empty for nothing."""
    for marker, (service, port) in _SERVICES.items():
        if item.get_closest_marker(marker) is None:
            continue
        if service.lower() in os.environ.get("FRESHET_TEST_SERVICES", "").split():
            return f"FRESHET_TEST_SERVICES says that {service} is here"
        if _listens(port):
            return f"{service} answers"
    if "shared_data" in getattr(item, "fixturenames", ()) and _data_folder().is_dir():
        return f"{_data_folder()} exists"
    return ""


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex(("127.0.0.1", port)) == 0


def _data_folder() -> Path:
    return Path(os.environ.get("FRESHET_TEST_DATA", _ROOT.parent / "shared" / "data"))


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    """An empty lake with all tables of `models.schema`."""
    folder = tmp_path / "lake"
    made = Lake(f"sqlite:{folder / 'catalogue.sqlite'}", folder / "data", folder / "write.lock", lock_timeout_s=5)
    made.create_tables()
    return made


@pytest.fixture(scope="module")
def new_database() -> Iterator[Callable[[str], str]]:
    """Makes an empty PostgreSQL database for a purpose and answers its name; all are dropped at the end."""
    import psycopg2

    try:
        connection = psycopg2.connect(f"{POSTGRES}/postgres", connect_timeout=2)
    except psycopg2.OperationalError:
        pytest.skip(f"no PostgreSQL answers at {POSTGRES}")
    connection.autocommit = True
    made: list[str] = []
    with connection.cursor() as cursor:

        def make(purpose: str) -> str:
            made.append(f"freshet_test_{purpose}_{uuid.uuid4().hex[:8]}")
            cursor.execute(f"CREATE DATABASE {made[-1]}")
            return made[-1]

        yield make
        for name in made:
            cursor.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")
    connection.close()


@pytest.fixture(scope="session")
def repeating() -> Callable[[Callable[[int], None]], AbstractContextManager[None]]:
    """Has another thread call something with 0, 1, 2 and so on for as long as a block lasts."""
    return _repeating


@contextmanager
def _repeating(work: Callable[[int], None]) -> Iterator[None]:
    ended = threading.Event()

    def run() -> None:
        for number in itertools.count():
            if ended.is_set():
                return
            work(number)

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder with the public datasets, which the project may not contain."""
    folder = _data_folder()
    if not folder.is_dir():
        pytest.skip(f"no datasets under {folder}; set FRESHET_TEST_DATA")
    return folder


@pytest.fixture(scope="session")
def tiny_encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a BERT with two layers of 16 dimensions, random weights and a vocabulary of `WORDS`."""
    import torch
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

    folder = tmp_path_factory.mktemp("tiny-encoder")
    vocabulary = {token: number for number, token in enumerate([*SPECIAL, *WORDS, ",", "."])}
    tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    names = dict(zip(("pad_token", "unk_token", "cls_token", "sep_token", "mask_token"), SPECIAL, strict=True))
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, model_max_length=64, **names).save_pretrained(folder)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        config = BertConfig(
            vocab_size=len(vocabulary),
            hidden_size=16,
            num_hidden_layers=2,
            num_attention_heads=2,
            intermediate_size=32,
            max_position_embeddings=64,
        )
        BertModel(config, add_pooling_layer=False).save_pretrained(folder)
    return folder
