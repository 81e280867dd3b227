from dataclasses import replace
from datetime import datetime
from pathlib import Path

import duckdb

from assets.domain import load_domain
from assets.lake import Lake
from assets.list_reader import ListReader
from assets.mirrors.embedded import EmbeddedMirror
from assets.mirrors.filling import catch_up
from orchestration.commands.lists import read_list

NOW = datetime(2026, 1, 1)

_LIST = """
INSERT INTO serving.top_k VALUES ('home', 'u', [
    {'item_id': 'a', 'score': 0.3, 'source': 's', 'reason': 'r', 'contributions': [{'term': 't', 'amount': 0.3}],
     'propensity': 1.0},
    {'item_id': 'b', 'score': 0.1, 'source': 's', 'reason': 'q', 'contributions': NULL, 'propensity': NULL}
], 'm', 'i', 1, '2026-01-01', '2026-01-02', 'batch', NULL)
"""


def test_a_list_is_shown_alike_from_the_mirror_and_from_the_lake(lake: Lake, tmp_path: Path) -> None:
    def work(connection: duckdb.DuckDBPyConnection) -> None:
        connection.execute("CREATE SCHEMA marts; CREATE TABLE marts.items (item_id VARCHAR, title VARCHAR)")
        connection.execute("INSERT INTO marts.items VALUES ('a', 'Red scarf')")
        connection.execute(_LIST)

    lake.write(work, message="list")
    domain, mirror = load_domain("shop"), EmbeddedMirror(tmp_path / "mirror", budget_bytes=2**20)
    catch_up(lake, mirror, now=NOW)
    with ListReader(lake, mirror, surface="home", clock=lambda: NOW, check_every_s=60) as reader:
        shown = read_list(lake, domain, "u", "key", reader=reader)
    assert shown.read_from == "mirror"
    assert replace(shown, read_from="lake") == read_list(lake, domain, "u", "key")
