"""Which pictures are held out: one in twenty, but enough to judge by, and the same for ever."""

import hashlib

import pytest

from contract.dataset import Manifest, is_held_out
from models.datasets.split import (
    FEWEST_REALS,
    held_out_images,
    held_out_indices,
    split_sizes,
    training_indices,
)


def manifest(images: int) -> Manifest:
    """A dataset of as many pictures."""
    hashes = tuple(hashlib.sha256(str(number).encode()).hexdigest() for number in range(images))
    return Manifest(
        id="ds_" + "0" * 16,
        images=images,
        held_out_images=held_out_images(hashes),
        channels=1,
        median_width=28,
        median_height=28,
        content_hash="0" * 64,
        hashes=hashes,
    )


def usual(dataset: Manifest) -> list[int]:
    """The pictures that every dataset would hold out."""
    return [place for place, each in enumerate(dataset.hashes) if is_held_out(each)]


def test_one_picture_in_twenty_is_held_out_and_never_trained_on() -> None:
    dataset = manifest(600)
    shown, kept = training_indices(dataset).tolist(), held_out_indices(dataset).tolist()
    assert kept == usual(dataset)
    assert sorted([*shown, *kept]) == list(range(600))
    assert len(kept) >= FEWEST_REALS
    assert split_sizes(600, dataset.held_out_images) == (len(shown), len(kept))


@pytest.mark.parametrize("images", [160, 250])
def test_enough_of_hundreds_of_pictures_are_held_out(images: int) -> None:
    dataset = manifest(images)
    shown, kept = training_indices(dataset).tolist(), held_out_indices(dataset).tolist()
    assert len(usual(dataset)) < len(kept) == FEWEST_REALS
    assert set(usual(dataset)) < set(kept)
    assert sorted([*shown, *kept]) == list(range(images))
    assert split_sizes(images, dataset.held_out_images) == (len(shown), len(kept))


def test_dataset_that_an_older_version_prepared_keeps_its_split() -> None:
    dataset = manifest(160)
    older = dataset.model_copy(update={"held_out_images": len(usual(dataset))})
    assert older.held_out == set(usual(dataset))
    assert training_indices(older).tolist() == list(range(160))
    assert not held_out_indices(older).size


def test_pictures_are_trained_on_if_too_few_would_be_held_out() -> None:
    dataset = manifest(150)
    assert 0 < dataset.held_out_images < FEWEST_REALS
    assert training_indices(dataset).tolist() == list(range(150))
    assert not held_out_indices(dataset).size
    assert split_sizes(150, dataset.held_out_images) == (150, 0)


@pytest.mark.parametrize(("held_out", "shown"), [(15, 285), (16, 5), (16, 0)])
def test_pictures_are_not_split_into_less_than_can_be_used(held_out: int, shown: int) -> None:
    assert split_sizes(shown + held_out, held_out) == (shown + held_out, 0)
