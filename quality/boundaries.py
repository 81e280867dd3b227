"""The contracts of all four boundaries together."""

from quality.contracts import Contract
from quality.embedding_rules import embedding_contract
from quality.feature_contracts import feature_contracts
from quality.mart_contracts import mart_contracts
from quality.raw_contracts import raw_contracts
from quality.top_k_rules import ListPromise, top_k_contract


def contracts(
    promise: ListPromise, *, embedding_dimension: int | None = None, encoder_version: str = ""
) -> dict[str, Contract]:
    """Contract by asset key, in the order of the lineage; the names of the checks depend on no argument.

    Args:
        promise: What the domain promises of a list.
        embedding_dimension: Dimension of the present encoder, if known.
        encoder_version: Version of the present encoder, if known.
    """
    every = (
        *raw_contracts(),
        *mart_contracts(),
        *feature_contracts(),
        embedding_contract(dimension=embedding_dimension, encoder_version=encoder_version),
        top_k_contract(promise),
    )
    return {contract.asset: contract for contract in every}
