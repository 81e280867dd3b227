"""Item embeddings of each stage of the encoder, for the ablation: raw, pretrained, fine-tuned."""

from typing import TYPE_CHECKING

from assets.artifacts import ArtifactStore
from assets.builds import last_build
from assets.domain import Domain
from assets.lake import Lake
from assets.resources import EncoderResource

if TYPE_CHECKING:
    from models.catalogue import Catalogue
    from models.interactions import FloatArray

ENCODER_KIND = "encoder"
RAW, PRETRAINED, FINETUNED = "raw", "pretrained", "finetuned"


def stage_embeddings(
    lake: Lake, domain: Domain, store: ArtifactStore, encoder: EncoderResource, catalogue: "Catalogue"
) -> "dict[str, FloatArray]":
    """Embeddings in the order of the catalogue, by stage; the fine-tuned ones are those that serve.

    A stage that was not built, or that left the encoder as it was, is left out. Empty without item embeddings.
    """
    if catalogue.embeddings is None:
        return {}
    from models.language_model import TextEncoder

    texts = lake.frame("SELECT item_id, text FROM features.item_texts").set_index("item_id")["text"]
    ordered = texts.reindex(catalogue.item_ids).fillna("").tolist()
    settings = {RAW: encoder.spec}
    pretrained = last_build(lake, "pretrained_encoder")
    if pretrained is not None and pretrained.version:
        settings[PRETRAINED] = str(store.path(ENCODER_KIND, pretrained.version))
    tokens = int(domain.finetuning.get("max_tokens", 48))
    vectors = {}
    for stage, setting in settings.items():
        sha256 = encoder.sha256 if stage == RAW else ""
        vectors[stage] = TextEncoder.load(setting, max_tokens=tokens, sha256=sha256).encode(ordered)
    return {**vectors, FINETUNED: catalogue.embeddings}
