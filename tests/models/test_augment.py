import pytest
import torch
from torch import Tensor

from contract.augmentation import DiffAugment
from models.augment import Draws, augment

COLOR = DiffAugment(translation=False, cutout=False)
TRANSLATION = DiffAugment(color=False, cutout=False)
CUTOUT = DiffAugment(color=False, translation=False)


def draws(count: int, images_seen: int = 0) -> Draws:
    return Draws.of(7, "real", images_seen, count)


@pytest.fixture
def images() -> Tensor:
    return torch.rand(64, 3, 16, 16, generator=torch.Generator().manual_seed(0)) * 2 - 1


def test_zero_strength_changes_nothing(images: Tensor) -> None:
    changed = augment(images, DiffAugment(strength=0), draws(64))
    torch.testing.assert_close(changed, images)


@pytest.mark.parametrize("policy", [COLOR, TRANSLATION, CUTOUT, DiffAugment()])
def test_gradient_reaches_the_images(images: Tensor, policy: DiffAugment) -> None:
    leaf = images.clone().requires_grad_()
    augment(leaf, policy, draws(64)).square().sum().backward()  # type: ignore[no-untyped-call]
    assert leaf.grad is not None
    assert leaf.grad.isfinite().all()
    assert (leaf.grad != 0).float().mean() > 0.5


@pytest.mark.parametrize("policy", [COLOR, TRANSLATION, CUTOUT, DiffAugment()])
def test_image_is_changed_alike_alone_and_in_a_batch(images: Tensor, policy: DiffAugment) -> None:
    whole = draws(64)
    first = Draws(whole.values[:, :1])
    torch.testing.assert_close(augment(images[:1], policy, first), augment(images, policy, whole)[:1])


def test_draws_differ_from_batch_to_batch() -> None:
    assert not torch.equal(draws(64).values, draws(64, images_seen=64).values)


def test_reals_and_fakes_have_different_draws() -> None:
    assert not torch.equal(Draws.of(7, "real", 0, 4).values, Draws.of(7, "fake", 0, 4).values)


def test_colour_changes_do_not_move_edges(images: Tensor) -> None:
    """On grey images they are an affine map of the pixel values, one per image."""
    grey = images[:, :1]
    changed = augment(grey, COLOR, draws(64))
    for before, after in zip(grey.flatten(1), changed.flatten(1), strict=True):
        assert torch.corrcoef(torch.stack([before, after]))[0, 1] > 0.9999


def test_brightness_is_changed_by_at_most_half(images: Tensor) -> None:
    shift = (augment(images, COLOR, draws(64)) - images).mean(dim=(1, 2, 3)).abs()
    assert 0.4 < shift.max() <= 0.5


def test_translation_moves_whole_pixels_up_to_an_eighth_of_the_side() -> None:
    point = torch.zeros(512, 1, 16, 16)
    point[:, :, 8, 8] = 1
    moved = augment(point, TRANSLATION, draws(512)).squeeze(1).nonzero()
    assert len(moved) == 512
    assert set(moved[:, 1].tolist()) == set(moved[:, 2].tolist()) == {6, 7, 8, 9, 10}


def test_cutout_blanks_one_square_of_half_the_side() -> None:
    blanked = augment(torch.ones(512, 1, 16, 16), CUTOUT, draws(512)).squeeze(1) == 0
    rows, columns = blanked.any(2).sum(1), blanked.any(1).sum(1)
    assert torch.equal(blanked.sum((1, 2)), rows * columns)
    extremes = (rows.min(), rows.max(), columns.min(), columns.max())
    assert [extreme.item() for extreme in extremes] == [4, 8, 4, 8]


def test_every_channel_is_cut_and_moved_alike(images: Tensor) -> None:
    grey = images[:, :1].expand(-1, 3, -1, -1)
    changed = augment(grey, DiffAugment(color=False), draws(64))
    assert torch.equal(changed[:, 0], changed[:, 1])
    assert torch.equal(changed[:, 0], changed[:, 2])
