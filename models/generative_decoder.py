"""The decoder that writes item IDs, and the beam search that writes only IDs that exist."""

from typing import Any

import numpy as np
import torch
from transformers import DynamicCache, GPT2Config, GPT2LMHeadModel

from models.device import Device
from models.generative_config import GenerativeConfig
from models.generative_tokens import BEGIN, PAD, TokenSpace
from models.interactions import FloatArray, IntArray, LongArray
from models.prefix_trie import PrefixTrie
from models.top_rows import top_rows

ROWS_AT_ONCE = 1024
"""Beams in one forward pass, which bounds the memory of the search."""


def new_decoder(config: GenerativeConfig, space: TokenSpace) -> Any:
    """A GPT-2 of the configured size with random weights from torch's generator."""
    return GPT2LMHeadModel(
        GPT2Config(
            vocab_size=space.size,
            n_positions=1 + (config.history_items + 1) * space.length,
            n_embd=config.embedding_size,
            n_layer=config.layers,
            n_head=config.heads,
            resid_pdrop=config.dropout,
            embd_pdrop=config.dropout,
            attn_pdrop=config.dropout,
            bos_token_id=BEGIN,
            eos_token_id=None,
            pad_token_id=PAD,
        )
    )


def start_at_centres(decoder: Any, space: TokenSpace, centres: FloatArray, seed: int) -> None:
    """Set the vectors of the codes to their centres through one random projection, at the scale of the others.

    Args:
        decoder: From `new_decoder`; changed in place.
        space: Its tokens.
        centres: Shape (levels, codes, dimension).
        seed: Of the projection.
    """
    table, size = decoder.transformer.wte.weight, decoder.config.n_embd
    rng = np.random.default_rng([seed, 11])
    projection = rng.standard_normal((centres.shape[2], size)) / np.sqrt(size)
    with torch.no_grad():
        for level, part in enumerate(centres):
            centred = (part - part.mean(axis=0)) @ projection
            scaled = centred * (decoder.config.initializer_range / max(float(centred.std()), 1e-9))
            begin = space.begin(level)
            table[begin : begin + len(part)] = torch.from_numpy(scaled).to(table)


@torch.inference_mode()
def search(
    decoder: Any,
    histories: list[IntArray],
    item_tokens: LongArray,
    space: TokenSpace,
    trie: PrefixTrie,
    beams: int,
    device: Device,
) -> tuple[LongArray, FloatArray]:
    """The most probable next items of each history among those of the trie.

    A user's result does not depend on who else is asked for: the shape of a batch follows from the length of the
    user's own history, widths being powers of two.

    Args:
        decoder: Trained, in evaluation mode.
        histories: Item rows of each user by time, at least one, each with an ID.
        item_tokens: Tokens of the decoder of each item, shape (items, length of an ID).
        space: Which tokens may stand where.
        trie: The IDs that may come out.
        beams: Width of the search and length of the result.
        device: Where to compute.

    Returns:
        Item rows, best first, -1 behind the end, and the logs of their probabilities, both (users, beams).
    """
    found = np.full((len(histories), beams), -1, dtype=np.int64)
    logs = np.full((len(histories), beams), -np.inf, dtype=np.float32)
    lengths = np.array([len(history) for history in histories], dtype=np.int64)
    widths = 2 ** np.ceil(np.log2(np.maximum(lengths, 1))).astype(np.int64)
    longest = (decoder.config.n_positions - 1) // space.length - 1
    widths = np.minimum(widths, longest)
    size = max(ROWS_AT_ONCE // beams, 1)
    for width in np.unique(widths):
        users = np.flatnonzero(widths == width)
        for begin in range(0, len(users), size):
            chosen = users[begin : begin + size]
            padded = [histories[user] for user in chosen] + [histories[chosen[0]]] * (size - len(chosen))
            items, scores = _search_block(decoder, padded, int(width), item_tokens, space, trie, beams, device)
            found[chosen], logs[chosen] = items[: len(chosen)], scores[: len(chosen)]
    return found, logs


def _search_block(
    decoder: Any,
    histories: list[IntArray],
    width: int,
    item_tokens: LongArray,
    space: TokenSpace,
    trie: PrefixTrie,
    beams: int,
    device: Device,
) -> tuple[LongArray, FloatArray]:
    users, length = len(histories), space.length
    ids, mask = _left_padded(histories, width, item_tokens)
    ids, mask = ids.to(device.target), mask.to(device.target)
    cache = DynamicCache(config=decoder.config)
    logits = _next_logits(decoder, ids, mask, (mask.cumsum(dim=1) - 1).clamp(min=0), cache)
    place_of = mask.sum(dim=1, keepdim=True)
    nodes, scores = np.zeros((users, 1), dtype=np.int64), np.zeros((users, 1), dtype=np.float32)
    for depth in range(length):
        nodes, scores, parents, tokens = _best(logits, nodes, scores, trie, depth, space, beams)
        if depth == length - 1:
            break
        if depth == 0:
            cache.batch_repeat_interleave(beams)
            mask, place_of = mask.repeat_interleave(beams, dim=0), place_of.repeat_interleave(beams, dim=0)
        rows = torch.from_numpy((np.arange(users)[:, None] * nodes.shape[1] + parents).ravel()).to(device.target)
        if depth:
            cache.reorder_cache(rows)
        mask = torch.cat([mask, torch.ones_like(mask[:, :1])], dim=1)
        logits = _next_logits(decoder, torch.from_numpy(tokens.reshape(-1, 1)).to(device.target), mask, place_of, cache)
        place_of = place_of + 1
    items = np.where(nodes >= 0, trie.items[np.maximum(nodes, 0)] if len(trie.items) else -1, -1)
    return items, np.where(nodes >= 0, scores, -np.inf).astype(np.float32)


def _best(
    logits: FloatArray,
    nodes: LongArray,
    scores: FloatArray,
    trie: PrefixTrie,
    depth: int,
    space: TokenSpace,
    beams: int,
) -> tuple[LongArray, FloatArray, LongArray, LongArray]:
    """The best `beams` continuations of each user: nodes, logs of probabilities, parents' places, decoder's tokens."""
    users, before = nodes.shape
    begin, width = space.begin(depth), space.width(depth)
    steps = logits[:, begin : begin + width].reshape(users, before, width)
    allowed = trie.allowed(depth, nodes.ravel(), width).reshape(users, before, width)
    totals = np.where(allowed, scores[:, :, None] + steps, -np.inf).astype(np.float32).reshape(users, -1)
    chosen = top_rows(totals, beams).astype(np.int64)
    chosen = np.pad(chosen, ((0, 0), (0, beams - chosen.shape[1])), constant_values=-1)
    is_real, safe = chosen >= 0, np.maximum(chosen, 0)
    parents, tokens = safe // width, safe % width
    reached = trie.child(depth, np.take_along_axis(nodes, parents, axis=1).ravel(), tokens.ravel())
    totals = np.where(is_real, np.take_along_axis(totals, safe, axis=1), -np.inf).astype(np.float32)
    return np.where(is_real, reached.reshape(chosen.shape), -1), totals, parents, begin + tokens


def _next_logits(
    decoder: Any, ids: torch.Tensor, mask: torch.Tensor, positions: torch.Tensor, cache: DynamicCache
) -> FloatArray:
    """Logs of the probabilities of the token after the last, shape (rows, tokens); fills the cache."""
    output = decoder(
        input_ids=ids,
        attention_mask=mask,
        position_ids=positions,
        past_key_values=cache,
        use_cache=True,
        logits_to_keep=1,
    )
    return np.asarray(torch.log_softmax(output.logits[:, -1].float(), dim=-1).cpu().numpy())


def _left_padded(histories: list[IntArray], width: int, item_tokens: LongArray) -> tuple[torch.Tensor, torch.Tensor]:
    length = item_tokens.shape[1]
    ids = np.full((len(histories), 1 + width * length), PAD, dtype=np.int64)
    mask = np.zeros_like(ids)
    for row, history in enumerate(histories):
        latest = history[-width:]
        count = 1 + len(latest) * length
        ids[row, -count:] = np.concatenate([[BEGIN], item_tokens[latest].ravel()])
        mask[row, -count:] = 1
    return torch.from_numpy(ids), torch.from_numpy(mask)
