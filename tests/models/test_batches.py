import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from models.batches import Batches


def numbered(
    count: int, batch_size: int, *, seed: int = 0, indices: list[int] | None = None, mirror: bool = False
) -> Batches:
    """Batches of uniform 4×4 pictures; each picture's pixel value is its number."""
    array = np.broadcast_to(np.arange(count, dtype=np.uint8)[:, None, None, None], (count, 1, 4, 4)).copy()
    shown = np.array(range(count) if indices is None else indices)
    return Batches(array, shown, batch_size=batch_size, seed=seed, device="cpu", mirror=mirror)


def shown(batches: Batches, images_seen: int) -> Tensor:
    return batches.images(batches.draw(images_seen))


def numbers_of(images: Tensor) -> list[int]:
    return [round(value) for value in ((images[:, 0, 0, 0] + 1) * 127.5).tolist()]


@given(count=st.integers(1, 40), batch_size=st.integers(1, 50), epochs=st.integers(1, 4))
@settings(max_examples=30)
def test_every_epoch_shows_every_picture_once(count: int, batch_size: int, epochs: int) -> None:
    batches = numbered(count, batch_size)
    seen: list[int] = []
    for images_seen in range(0, epochs * count, batch_size):
        seen += numbers_of(shown(batches, images_seen))
    for start in range(0, epochs * count, count):
        assert sorted(seen[start : start + count]) == list(range(count))


def test_batch_does_not_depend_on_earlier_requests() -> None:
    forwards, backwards = numbered(10, 4), numbered(10, 4)
    points = list(range(0, 80, 4))
    expected = {point: shown(forwards, point) for point in points}
    assert all(torch.equal(shown(backwards, point), expected[point]) for point in reversed(points))


def test_epochs_have_different_orders() -> None:
    batches = numbered(30, 30)
    assert numbers_of(shown(batches, 0)) != numbers_of(shown(batches, 30))


def test_seeds_have_different_orders() -> None:
    assert numbers_of(shown(numbered(30, 30, seed=1), 0)) != numbers_of(shown(numbered(30, 30, seed=2), 0))


def test_two_pictures_fill_a_batch_of_five() -> None:
    assert sorted(numbers_of(shown(numbered(2, 5), 0))) in ([0, 0, 0, 1, 1], [0, 0, 1, 1, 1])


def test_only_training_pictures_are_shown() -> None:
    assert set(numbers_of(shown(numbered(10, 6, indices=[1, 4, 7]), 0))) == {1, 4, 7}


def test_images_are_float_in_range() -> None:
    images = shown(numbered(256, 256), 0)
    assert images.dtype == torch.float32
    assert (images.min().item(), images.max().item()) == (-1, 1)


def test_about_half_of_a_batch_is_mirrored_always_the_same_half() -> None:
    array = np.zeros((1, 1, 4, 4), dtype=np.uint8)
    array[:, :, :, 0] = 255  # a bright left edge
    batches = Batches(array, np.array([0]), batch_size=1000, seed=0, device="cpu", mirror=True)
    images = shown(batches, 3000)
    mirrored = images[:, 0, 0, 3] == 1
    assert mirrored.float().mean().item() == pytest.approx(0.5, abs=0.1)
    assert torch.equal(images, shown(batches, 3000))
    assert not torch.equal(images, shown(batches, 4000))


def test_pixels_on_the_cpu_are_not_copied() -> None:
    array = np.zeros((3, 1, 4, 4), dtype=np.uint8)
    batches = Batches(array, np.arange(3), batch_size=3, seed=0, device="cpu", mirror=False)
    array[:] = 255
    assert shown(batches, 0).min().item() == 1
