"""Ridge regressions of every item on its neighbours: closed forms whose memory is not quadratic in the catalogue.

A linear item model minimises `||Y - XB||² + λ||B||²` with a zero diagonal, where the columns of X and Y are items. All
that it needs is the Gram matrix `X'X` and the cross products `X'Y`, and both are as sparse as behaviour is. The dense
solution inverts an (items, items) matrix. Here column j of B is solved for on the `candidates` items with the largest
cross products with j only, and every other weight is 0 (the feature selection of fsSLIM, Ning and Karypis 2011, with
the ridge of EASE): one system of at most `candidates` unknowns per item.

Memory is that of the sparse products. On Amazon Beauty (12,101 items) 100 candidates rank as well as the dense solution
in a quarter of the time; see `docs/experiments/linear.md`.
"""

from collections.abc import Iterator

import numpy as np
from scipy import sparse
from scipy.linalg import lapack

from models.errors import DataError
from models.interactions import FloatArray, InteractionLog, LongArray

BYTES_PER_PAIR = 40
"""Peak memory of one stored pair of items: 8 bytes in each of two products, their parts, and the sums being made."""


def local_weights(
    gram: sparse.csr_matrix, cross: sparse.csr_matrix, *, regularization: float, candidates: int
) -> sparse.csr_matrix:
    """B with a zero diagonal, column by column, each from its strongest candidates.

    Args:
        gram: X'X, shape (items, items), symmetric.
        cross: X'Y, shape (items, items): row i, column j says how often i calls for j.
        regularization: Ridge added to the diagonal of `gram` (lambda).
        candidates: Most non-zero weights of a column.

    Raises:
        DataError: a system cannot be solved in single precision.
    """
    count = gram.shape[0]
    rows, values, lengths = [], [], np.zeros(count, dtype=np.int64)
    for item, (chosen, strength) in enumerate(_strongest_of_columns(cross, candidates)):
        lengths[item] = len(chosen)
        if not len(chosen):
            continue
        square = _submatrix(gram, chosen)
        square[np.diag_indices(len(chosen))] += np.float32(regularization)
        _, solution, failed = lapack.sposv(square, strength, lower=1, overwrite_a=1)
        if failed:
            raise DataError(f"the weights of item row {item} have no solution; raise the regularization")
        rows.append(chosen)
        values.append(np.asarray(solution, dtype=np.float32).ravel())
    if not rows:
        return sparse.csr_matrix((count, count), dtype=np.float32)
    start = np.concatenate([[0], np.cumsum(lengths)])
    columns = sparse.csc_matrix((np.concatenate(values), np.concatenate(rows), start), shape=(count, count))
    weights = sparse.csr_matrix(columns, dtype=np.float32)
    weights.sort_indices()
    return weights


def pair_gib(log: InteractionLog, window: int) -> float:
    """Upper bound in GiB of what pairs of interactions at most `window` places apart take, however they repeat."""
    lengths = np.minimum(np.diff(log.start), np.iinfo(np.int32).max).astype(np.float64)
    reach = np.minimum(lengths, window)
    pairs = float((reach * (lengths - reach) + reach * (reach + 1) / 2).sum()) * 2
    return min(pairs, float(log.item_count) ** 2) * BYTES_PER_PAIR / 2**30


def _strongest_of_columns(cross: sparse.csr_matrix, count: int) -> Iterator[tuple[LongArray, FloatArray]]:
    """Rows and values of the `count` largest entries of each column off the diagonal, rows ascending.

    Ties go to the lower row.
    """
    by_column = sparse.csc_matrix(cross, dtype=np.float32)
    by_column.sort_indices()
    for column in range(by_column.shape[1]):
        part = slice(by_column.indptr[column], by_column.indptr[column + 1])
        rows, values = by_column.indices[part], by_column.data[part]
        is_other = (rows != column) & (values > 0)
        rows, values = rows[is_other], values[is_other]
        if len(rows) > count:
            kept = np.sort(np.argsort(-values, kind="stable")[:count])
            rows, values = rows[kept], values[kept]
        yield rows, values


def _submatrix(matrix: sparse.csr_matrix, chosen: LongArray) -> FloatArray:
    """Rows and columns `chosen` (ascending) of a sparse matrix, dense and in column order for LAPACK."""
    rows = matrix[chosen]
    places = np.searchsorted(chosen, rows.indices)
    places[places == len(chosen)] = 0
    is_chosen = chosen[places] == rows.indices
    line = np.repeat(np.arange(len(chosen)), np.diff(rows.indptr))[is_chosen]
    square = np.zeros((len(chosen), len(chosen)), dtype=np.float32, order="F")
    square[line, places[is_chosen]] = rows.data[is_chosen]
    return square
