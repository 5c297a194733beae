"""The shipped feature network: an image always has the same features, and worse images are farther away."""

import io
import json
import zipfile
from collections.abc import Callable
from importlib import resources
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Generator, Tensor
from torch.nn import functional

from models import features
from models.features import CHOICES
from models.features.embedded import Embedded, _read, digest, load, sized
from models.features.network import FEATURES, FeatureNetwork, multiply_adds
from models.metrics import Moments, frechet_distance
from models.pixels import to_numbers

ROOT = Path(__file__).parents[3]
SHIPPED = resources.files(features) / "features.safetensors"
Distortion = Callable[[Tensor, float], Tensor]


@pytest.fixture(scope="module")
def judge() -> Embedded:
    return load("cpu")


@pytest.fixture(scope="module")
def clothes() -> Tensor:
    """The first 256 pictures of the example archive (N, 1, 32, 32), float32 in [-1, 1]."""
    with zipfile.ZipFile(ROOT / "examples/fashion-mnist-5k.zip") as archive:
        names = [name for name in archive.namelist() if name.endswith(".png")][:256]
        pixels = np.stack([np.asarray(Image.open(io.BytesIO(archive.read(name)))) for name in names])
    return functional.pad(to_numbers(torch.from_numpy(pixels)[:, None]), (2, 2, 2, 2), value=-1.0)


@pytest.fixture(scope="module")
def header() -> dict[str, object]:
    with resources.as_file(SHIPPED) as path, safe_open(path, framework="pt") as file:
        found: dict[str, object] = json.loads(file.metadata()["features"])
    return found


def images(count: int, channels: int = 3, side: int = 32) -> Tensor:
    return torch.rand(count, channels, side, side, generator=Generator().manual_seed(count)) * 2 - 1


def blurred(given: Tensor, strength: float) -> Tensor:
    return given.lerp(functional.avg_pool2d(given, 3, 1, 1, count_include_pad=False), strength)


def noisy(given: Tensor, strength: float) -> Tensor:
    drawn = torch.randn(given.shape, generator=Generator().manual_seed(0))
    return (given + 0.3 * strength * drawn).clamp(-1, 1)


def checkered(given: Tensor, strength: float) -> Tensor:
    side = given.shape[-1]
    signs = (torch.arange(side)[:, None] + torch.arange(side)) % 2 * 2.0 - 1
    return (given + 0.2 * strength * signs).clamp(-1, 1)


def test_image_has_the_same_features_in_any_batch(judge: Embedded) -> None:
    many = images(70)
    alone = torch.cat([judge.of(many[k : k + 1]) for k in (0, 3, 66)])
    assert torch.equal(judge.of(many)[[0, 3, 66]], alone)


def test_features_do_not_depend_on_the_position_in_a_batch(judge: Embedded) -> None:
    many = images(9)
    assert torch.equal(judge.of(many.flip(0)), judge.of(many).flip(0))


def test_features_do_not_depend_on_the_memory_format(judge: Embedded) -> None:
    many = images(5)
    assert torch.equal(judge.of(many.contiguous(memory_format=torch.channels_last)), judge.of(many))


def test_features_do_not_depend_on_autocast(judge: Embedded) -> None:
    plain = judge.of(images(2))
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(judge.of(images(2)), plain)


def test_grey_image_has_the_features_of_its_rgb_version(judge: Embedded) -> None:
    grey = images(5, channels=1)
    assert torch.equal(judge.of(grey), judge.of(grey.repeat(1, 3, 1, 1)))


@pytest.mark.parametrize("side", [8, 16, 28, 32, 48, 64, 100, 128, 256])
def test_images_of_any_size_have_features(judge: Embedded, side: int) -> None:
    found = judge.of(images(2, side=side))
    assert found.shape == (2, FEATURES)
    assert found.isfinite().all()


def test_no_images_give_no_features(judge: Embedded) -> None:
    assert judge.of(images(0)).shape == (0, FEATURES)


@pytest.mark.parametrize("times", [2, 4])
def test_large_images_are_averaged(judge: Embedded, times: int) -> None:
    small = images(2, side=64)
    large = small.repeat_interleave(times, 2).repeat_interleave(times, 3)
    torch.testing.assert_close(judge.of(large), judge.of(small))


@pytest.mark.parametrize(
    ("side", "seen"), [(8, 32), (20, 40), (32, 32), (48, 48), (64, 64), (65, 32), (100, 50), (256, 64)]
)
def test_images_are_scaled_to_a_size_in_the_trained_range(side: int, seen: int) -> None:
    assert sized(torch.empty(1, 1, side, side)).shape[-1] == seen


def test_cost_of_an_image_is_that_of_its_scaled_size() -> None:
    cost = CHOICES["embedded"].multiply_adds
    assert cost(128) == cost(64) == 4 * cost(32)


def test_multiply_adds_are_those_of_the_convolutions() -> None:
    first = 16 * 16 * 32 * 3 * 16
    second = 8 * 8 * 64 * (32 + 64) * 9
    third = 4 * 4 * 128 * (64 + 128) * 9
    assert multiply_adds(32) == first + second + third


@pytest.mark.parametrize("distorted", [blurred, noisy, checkered])
def test_stronger_distortions_are_farther_from_the_reals(
    judge: Embedded, clothes: Tensor, distorted: Distortion
) -> None:
    reals = Moments.of(judge.of(clothes[:128]))
    distances = [
        frechet_distance(reals, judge.of(distorted(clothes[128:], strength)))
        for strength in (0.0, 0.3, 0.6, 1.0)
    ]
    assert distances == sorted(distances)


def test_one_kind_of_clothes_is_farther_than_a_mix_of_all(judge: Embedded, clothes: Tensor) -> None:
    found = judge.of(clothes)
    brightest = clothes[128:].mean((1, 2, 3)).topk(64).indices
    some = found[128:][torch.arange(64)]
    assert frechet_distance(found[:128], found[128:][brightest]) > frechet_distance(found[:128], some)


def test_version_in_the_header_matches_the_weights(judge: Embedded, header: dict[str, object]) -> None:
    assert judge.version == header["version"]


def test_weights_take_at_most_two_megabytes() -> None:
    with resources.as_file(SHIPPED) as path:
        assert path.stat().st_size <= 2_000_000


def test_changing_a_weight_changes_the_version() -> None:
    torch.manual_seed(0)
    tensors = FeatureNetwork().state_dict()
    before = digest(tensors)
    tensors["halve_1.bias"][0] += 1e-3
    assert digest(tensors) != before


def test_weights_that_do_not_match_their_version_are_refused(tmp_path: Path) -> None:
    tampered = tmp_path / "tampered.safetensors"
    save_file(FeatureNetwork().state_dict(), tampered, {"features": json.dumps({"version": "0" * 16})})
    with pytest.raises(RuntimeError, match="0000000000000000"):
        _read(tampered)


def test_documentation_has_the_figures_of_these_weights(header: dict[str, object]) -> None:
    text = (ROOT / "docs/features.md").read_text()
    assert f"`{header['version']}`" in text
    accuracies = header["accuracies"]
    assert isinstance(accuracies, dict)
    for kind in accuracies["32"]:
        figures = " | ".join(f"{accuracies[side][kind]:.1%}" for side in ("32", "64"))
        assert f"| {kind} | {figures.replace('%', ' %')} |" in text
