"""Inception's features: the errors if they are unavailable, and the interface with random weights."""

import io
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch import Generator

from contract.errors import ServiceError
from models.features import CHOICES, Features
from models.features.inception import Inception, _network, load


@pytest.fixture(scope="module")
def inception() -> Iterator[Inception]:
    """The real network and the real loading code, with random weights; skips if the package is missing."""
    package = pytest.importorskip("torch_fidelity.feature_extractor_inceptionv3")
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(package.FeatureExtractorInceptionV3, "load_state_dict", lambda *_: None)
        untrained = package.FeatureExtractorInceptionV3(
            "untrained", ["2048"], feature_extractor_weights_path=io.BytesIO(_saved({}))
        )
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("models.features.inception.BATCH", 2)
        yield Inception(_network(_saved(untrained.state_dict())), "0" * 16, "cpu")


def _saved(tensors: dict[str, torch.Tensor]) -> bytes:
    file = io.BytesIO()
    torch.save(tensors, file)
    return file.getvalue()


def test_error_for_missing_weights_says_which_to_put_where(tmp_path: Path) -> None:
    with pytest.raises(ServiceError, match=r"here\.pth does not exist. Download weights-inception"):
        load(tmp_path / "here.pth", "cpu")


def test_wrong_weights_are_refused(tmp_path: Path) -> None:
    other = tmp_path / "other.pth"
    other.write_bytes(b"of another network")
    with pytest.raises(ServiceError, match=r"begins with [0-9a-f]{8}, not 6726825d"):
        load(other, "cpu")


def test_error_for_a_missing_package_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch_fidelity", None)
    monkeypatch.delitem(sys.modules, "torch_fidelity.feature_extractor_inceptionv3", raising=False)
    with pytest.raises(ServiceError, match=r"pip install '\.\[fid\]'"):
        _network(b"")


def test_inception_has_the_interface_of_the_embedded_features(inception: Inception) -> None:
    features: Features = inception
    found = features.of(torch.zeros(2, 1, 32, 32))
    assert found.shape == (2, features.size)


def test_image_has_the_same_features_in_any_batch(inception: Inception) -> None:
    images = torch.rand(3, 3, 32, 32, generator=Generator().manual_seed(0)) * 2 - 1
    assert torch.equal(inception.of(images)[1:2], inception.of(images[1:2]))


def test_multiply_adds_match_those_of_its_layers(inception: Inception) -> None:
    counted = 0

    def count(layer: torch.nn.Module, _given: object, made: torch.Tensor) -> None:
        nonlocal counted
        assert isinstance(layer, torch.nn.Conv2d)
        counted += made[0].numel() * layer.weight[0].numel()

    layers = [layer for layer in inception._network.modules() if isinstance(layer, torch.nn.Conv2d)]
    hooks = [layer.register_forward_hook(count) for layer in layers]
    inception.of(torch.zeros(1, 3, 32, 32))
    for hook in hooks:
        hook.remove()
    assert counted == CHOICES["inception"].multiply_adds(32)
