"""Item vectors of the sequence transformer: a trained ID part, a projected text part, or their sum.

The module's rows are its vocabulary: the items that the training log contains. Any other item has no ID part and
is described by its text alone, which is also how an item that arrives after training gets a vector.
"""

import torch
from torch import Tensor, nn

from models.errors import ConfigurationError
from models.sequence_config import SequenceConfig
from models.sequence_layers import INITIAL_DEVIATION

INITIAL_TEXT_NORM = 0.5
"""Mean length of the projected text vectors at the start; the ID part starts at about a third of it."""


def mean_text(text: Tensor) -> Tensor:
    """Mean of the text vectors that are not zero, (text size,)."""
    described = text[(text != 0).any(dim=1)]
    return described.mean(dim=0) if len(described) else torch.zeros(text.shape[1])


def centred_text(text: Tensor, mean: Tensor) -> Tensor:
    """Text vectors without what all have in common; a zero row, which is no text, stays zero."""
    return (text - mean) * (text != 0).any(dim=1, keepdim=True)


class TextProjection(nn.Module):
    """Centred text vectors to the item space; without biases, so that no text stays zero."""

    mean: Tensor

    def __init__(self, config: SequenceConfig, text_size: int) -> None:
        super().__init__()
        self.dropout = nn.Dropout(config.text_dropout)
        self.register_buffer("mean", torch.zeros(text_size))
        self.output = nn.Linear(text_size, config.embedding_size, bias=False)
        nn.init.normal_(self.output.weight, std=INITIAL_DEVIATION)
        hidden = config.text_hidden
        self.deep = (
            nn.Sequential(
                nn.Linear(text_size, hidden, bias=False),
                nn.GELU(),
                nn.Linear(hidden, config.embedding_size, bias=False),
            )
            if hidden
            else None
        )

    def forward(self, centred: Tensor) -> Tensor:
        """Project vectors from `centred_text`, (items, text size), to (items, d)."""
        centred = self.dropout(centred)
        projected = self.output(centred)
        if self.deep is not None:
            projected = projected + self.deep(centred)
        return torch.as_tensor(projected)

    @torch.no_grad()
    def start_at_components(self, centred: Tensor) -> None:
        """Set the linear part to the principal components of the vectors, scaled to `INITIAL_TEXT_NORM`."""
        described = centred[(centred != 0).any(dim=1)].double()
        if len(described) < 2:
            return
        _, directions = torch.linalg.eigh(described.T @ described)
        wanted = min(self.output.out_features, directions.shape[1])
        components = directions.flip(1)[:, :wanted].T
        # The sign of an eigenvector is arbitrary and may differ between machines: fix it.
        largest = components.gather(1, components.abs().argmax(dim=1, keepdim=True))
        components = components * largest.sign()
        length = (described @ components.T).norm(dim=1).mean().clamp(min=1e-6)
        self.output.weight[:wanted] = (components * (INITIAL_TEXT_NORM / length)).float()


class ItemVectors(nn.Module):
    """Vectors of the vocabulary's items and of items that only have a text."""

    def __init__(self, config: SequenceConfig, items: int, text_size: int) -> None:
        """Make untrained vectors.

        Args:
            config: Hyper-parameters.
            items: Size of the vocabulary.
            text_size: Dimension of the text vectors; 0 where the catalogue has none.

        Raises:
            ConfigurationError: the configuration wants text and the catalogue has no text vectors.
        """
        super().__init__()
        if config.item_source in ("text", "joint") and not text_size:
            raise ConfigurationError(
                f"sequence.item_source is {config.item_source!r} but the catalogue has no text vectors; "
                "materialise item_embeddings first or set it to 'auto' or 'id'"
            )
        self.config = config
        self.ids = None
        if config.item_source != "text":
            self.ids = nn.Parameter(torch.randn(items, config.embedding_size) * INITIAL_DEVIATION)
        self.projection = None
        self.text_size = 0 if config.item_source == "id" else text_size
        if self.text_size:
            self.projection = TextProjection(config, text_size)

    def forward(self, rows: Tensor, text: Tensor | None) -> Tensor:
        """Vectors of items.

        Args:
            rows: Vocabulary rows, (items,); -1 for an item outside the vocabulary.
            text: Their vectors from `centred_text`, (items, text size); None if there are none.

        Returns:
            (items, d). With neither an ID nor a text, zeros (for cosine logits as well).
        """
        vectors = torch.zeros(len(rows), self.config.embedding_size, device=rows.device)
        if self.ids is not None:
            is_known = (rows >= 0).unsqueeze(1)
            part = self.ids.index_select(0, rows.clamp(min=0)) * is_known
            if self.training and self.config.id_dropout > 0.0 and self.projection is not None:
                part = part * (torch.rand(len(rows), 1, device=rows.device) >= self.config.id_dropout)
            vectors = vectors + part
        if self.projection is not None and text is not None:
            vectors = vectors + self.projection(text)
        if self.config.logits == "cosine":
            vectors = nn.functional.normalize(vectors, dim=1)
        return torch.as_tensor(vectors)
