"""Item and user vectors of a sequence transformer, and its quality on a holdout."""

import numpy as np
import torch
from torch import Tensor

from models.catalogue import Catalogue
from models.device import Device
from models.interactions import PADDING, FloatArray, Histories, IntArray, LongArray
from models.sequence_encoder import SequenceEncoder
from models.sequence_items import centred_text
from models.sequence_times import FIRST, gap_buckets
from models.splitting import Holdout

PLACES_AT_ONCE = 1024
"""Places of one pass: more cost a few users their padding, fewer cost many users the calls."""
SHORTEST = 4
USERS_AT_ONCE = 1024


@torch.inference_mode()
def encode_items(
    encoder: SequenceEncoder, vocabulary_rows: LongArray, catalogue: Catalogue, device: Device
) -> FloatArray:
    """Vectors of all items of a catalogue, (items, d); zero for an item with neither a trained ID nor a text.

    Args:
        encoder: The network.
        vocabulary_rows: Row among the trained items of each catalogue row, -1 for an item that was not trained.
        catalogue: Items, with text vectors if the network uses them.
        device: Where to compute.
    """
    encoder.eval()
    rows = torch.from_numpy(np.asarray(vocabulary_rows, dtype=np.int64)).to(device.target)
    text, projection = None, encoder.items.projection
    if projection is not None and catalogue.embeddings is not None:
        text = centred_text(torch.from_numpy(catalogue.embeddings).to(device.target), projection.mean)
    return np.asarray(encoder.items(rows, text).float().cpu().numpy())


@torch.inference_mode()
def encode_histories(
    encoder: SequenceEncoder, histories: Histories, item_vectors: FloatArray, device: Device
) -> FloatArray:
    """User vectors, (users, d); zero for a user without a usable item.

    Kernels of other shapes round differently. So that a user's bits do not depend on who else is asked for, the
    shape of a batch follows from the length of the user's own history alone: widths are powers of two, and each
    width has one number of rows.

    Args:
        encoder: The network.
        histories: Catalogue rows by time, with -1 anywhere for padding.
        item_vectors: Vectors of the catalogue's items; items with a zero vector are passed over.
        device: Where to compute.
    """
    encoder.eval()
    vectors = torch.from_numpy(item_vectors).to(device.target)
    packed, gaps, lengths = _packed(histories, (item_vectors != 0).any(axis=1), encoder.config.max_length)
    result = np.zeros((histories.count, item_vectors.shape[1]), dtype=np.float32)
    widths = np.minimum(2 ** np.ceil(np.log2(np.maximum(lengths, SHORTEST))), encoder.config.max_length).astype(
        np.int64
    )
    for width in np.unique(widths[lengths > 0]):
        users = np.flatnonzero((widths == width) & (lengths > 0))
        size = max(PLACES_AT_ONCE // int(width), 1)
        for begin in range(0, len(users), size):
            chosen = users[begin : begin + size]
            block = np.full((size, width), PADDING, dtype=np.int32)
            block[: len(chosen)] = packed[chosen, :width]
            since = np.full((size, width), FIRST, dtype=np.int32)
            since[: len(chosen)] = gaps[chosen, :width]
            last = np.zeros(size, dtype=np.int64)
            last[: len(chosen)] = lengths[chosen] - 1
            result[chosen] = _encode(encoder, vectors, (block, since), last, device)[: len(chosen)]
    return result


def _encode(
    encoder: SequenceEncoder, vectors: Tensor, block: tuple[IntArray, IntArray], last: LongArray, device: Device
) -> FloatArray:
    rows, gaps = (torch.from_numpy(part).long().clamp(min=0).to(device.target) for part in block)
    with device.autocast():
        states = encoder(vectors[rows], gaps, torch.from_numpy(last).to(device.target))
    return np.asarray(states[:, 0].float().cpu().numpy())


def _packed(histories: Histories, is_usable: np.ndarray, max_length: int) -> tuple[IntArray, IntArray, LongArray]:
    """Histories moved to the left, without padding, unusable items and runs of repeats; their gaps and lengths."""
    items = histories.items
    keep = items != PADDING
    keep &= is_usable[np.where(keep, items, 0)]
    users, flat, ats = np.nonzero(keep)[0], items[keep], histories.event_ats[keep]
    is_step = np.ones(len(flat), dtype=bool)
    is_step[1:] = (flat[1:] != flat[:-1]) | (users[1:] != users[:-1])
    users, flat, ats = users[is_step], flat[is_step], ats[is_step]
    since = gap_buckets(np.diff(ats, prepend=ats[:1]))
    counts = np.bincount(users, minlength=len(items))
    lengths = np.minimum(counts, max_length)
    place = np.arange(len(flat)) - np.repeat(np.cumsum(counts) - lengths, counts)
    is_recent = place >= 0
    packed = np.full((len(items), max_length), PADDING, dtype=np.int32)
    packed[users[is_recent], place[is_recent]] = flat[is_recent]
    gaps = np.full(packed.shape, FIRST, dtype=np.int32)
    gaps[users[is_recent], place[is_recent]] = np.where(place[is_recent] > 0, since[is_recent], FIRST)
    return packed, gaps, lengths.astype(np.int64)


@torch.inference_mode()
def ranking_ndcg(
    user_vectors: FloatArray, item_vectors: FloatArray, holdout: Holdout, device: Device, *, k: int
) -> float:
    """Mean NDCG@k of full rankings by inner product, the items of the user's history left out.

    Ties count against the target. A target counts `1 / log2(1 + rank)`; 0 for a holdout without users.
    """
    if not holdout.count:
        return 0.0
    items = torch.from_numpy(item_vectors).to(device.target).T
    history, targets = holdout.history, holdout.targets
    total = 0.0
    for begin in range(0, holdout.count, USERS_AT_ONCE):
        users = holdout.user_rows[begin : begin + USERS_AT_ONCE].astype(np.int64)
        scores = torch.from_numpy(user_vectors[begin : begin + USERS_AT_ONCE]).to(device.target) @ items
        seen_user, seen_item = _spans(history.start, history.item_rows, users)
        wanted_user, wanted_item = _spans(targets.start, targets.item_rows, np.arange(begin, begin + len(users)))
        of_target = scores[wanted_user, wanted_item]
        scores[seen_user, seen_item] = -torch.inf
        scores[wanted_user, wanted_item] = of_target
        rank = (scores[wanted_user] >= of_target[:, None]).sum(dim=1).double()
        gains = torch.where(rank <= k, 1.0 / torch.log2(1.0 + rank), 0.0).cpu().numpy()
        ideal = np.cumsum(1.0 / np.log2(np.arange(2, k + 2)))
        counts = np.maximum(np.diff(targets.start)[begin : begin + len(users)], 1)
        total += float((gains / ideal[np.minimum(counts, k) - 1][wanted_user]).sum())
    return total / holdout.count


def _spans(start: LongArray, rows: IntArray, chosen: LongArray) -> tuple[LongArray, LongArray]:
    """Entries `start[c]:start[c + 1]` of `rows` for each chosen `c`: position of `c` in `chosen`, and the entry."""
    counts = start[chosen + 1] - start[chosen]
    owner = np.repeat(np.arange(len(chosen)), counts)
    place = np.arange(len(owner)) - np.repeat(np.cumsum(counts) - counts, counts) + np.repeat(start[chosen], counts)
    return owner, rows[place].astype(np.int64)
