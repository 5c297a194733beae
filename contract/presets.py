"""The presets: what each sets if the request does not. All else has the fields' own defaults."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

from contract.architectures import Dcgan, DcganFc
from contract.augmentation import DiffAugment
from contract.objectives import Minimax, WganGp
from contract.terms import Mmd, WeightPenalty

PresetName = Literal["fast", "quality", "small-data", "article", "wgan-gp"]

Settings = Mapping[str, object]

FEW_IMAGES = 500
MANY_IMAGES = 20_000
"""Between these, augmentation fades from full strength to none, linearly in the logarithm."""


@dataclass(frozen=True)
class Preset:
    """A one-line description, and settings that may depend on the number of training images."""

    description: str
    settings: Callable[[int], Settings]


def _fast(images: int) -> Settings:
    return {**_narrow(), **_held_back(images)}


def _quality(images: int) -> Settings:
    """A wider generator against a discriminator of full width, a longer average, and a longer run."""
    return {
        "images": 1_000_000,
        "ema_halflife_images": 10_000,
        "architecture": Dcgan(generator_width=96),
        **_held_back(images),
    }


def _small_data(images: int) -> Settings:
    return {
        "images": 400_000,
        "mirror": True,
        "ema_halflife_images": 10_000,
        **_narrow(),
        **_held_back(images),
    }


def _narrow() -> Settings:
    """A discriminator of half the generator's width, which learns twice as fast as a wider one could.

    The discriminator takes more time than the generator. At half the width, a run trains on nearly twice as
    many images in the same time; at twice the learning rate, the discriminator still keeps up. After 400
    seconds on one core, the Fréchet distance is 1.14 instead of 2.42 on Fashion-MNIST, and 2.02 instead of
    2.71 on 5,000 of its pictures.
    """
    return {"architecture": Dcgan(discriminator_width=32), "discriminator_learning_rate": 2e-4}


def _held_back(images: int) -> Settings:
    """Augmentation by the number of pictures, and decaying learning rates.

    Augmentation slows the discriminator from the first image on, and later keeps it from memorising small
    datasets. Decaying the rates over the last half removes noise at the end: Fréchet distance 1.56 instead
    of 1.67 after 200,000 images of 5,000 Fashion-MNIST pictures.
    """
    return {"augmentation": _augmentation(images), "learning_rate_decay": 0.5}


def _article(images: int) -> Settings:
    """The article's settings, wherever possible: docs/training.md lists the exceptions."""
    del images
    return {
        "architecture": DcganFc(),
        "objective": Minimax(),
        "terms": (Mmd(), WeightPenalty()),
        "images": 400_000,
        "batch_size": 64,
        "generator_learning_rate": 2e-4,
        "discriminator_learning_rate": 2e-4,
        "ema_halflife_images": 0,
    }


def _wgan_gp(images: int) -> Settings:
    """Algorithm 1 of the paper, with the learning rate, decays and batch of its experiments."""
    del images
    return {
        "objective": WganGp(),
        "images": 1_000_000,
        "batch_size": 64,
        "generator_learning_rate": 1e-4,
        "discriminator_learning_rate": 1e-4,
        "beta1": 0.5,
        "beta2": 0.9,
        "ema_halflife_images": 10_000,
    }


PRESETS: Mapping[PresetName, Preset] = {
    "fast": Preset("minutes on a CPU: a narrow discriminator, and augmentation for small datasets", _fast),
    "quality": Preset("hours: wider networks, and a million images", _quality),
    "small-data": Preset("for hundreds of pictures: mirrored, strongly augmented, and longer", _small_data),
    "article": Preset("the article that this service follows: minimax, MMD and a weight penalty", _article),
    "wgan-gp": Preset("Wasserstein distance with gradient penalty: slow, steady, hard to collapse", _wgan_gp),
}


def _augmentation(images: int) -> DiffAugment | None:
    strength = augmentation_strength(images)
    return DiffAugment(strength=strength) if strength > 0 else None


def augmentation_strength(images: int) -> float:
    """1 for up to 500 training images, 0 from 20,000 on, to two places."""
    if images <= FEW_IMAGES:
        return 1.0
    if images >= MANY_IMAGES:
        return 0.0
    return round(1 - math.log(images / FEW_IMAGES) / math.log(MANY_IMAGES / FEW_IMAGES), 2)


def describe() -> str:
    """Describe all presets, for API documentation."""
    return "; ".join(f"`{name}`: {preset.description}" for name, preset in PRESETS.items())
