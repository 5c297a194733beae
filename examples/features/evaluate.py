"""Measure how the Fréchet distance of the features rises as images get worse: the tables of docs/features.md.

    python -m examples.features.evaluate FOLDER

Nothing was trained on the reference pictures; other such pictures are distorted and compared with them.
"""

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from torch import Generator, Tensor

from examples.features import views
from examples.features.distortions import DISTORTIONS, Distortion
from examples.features.sources import Labelled, Material
from models.features import Features, embedded
from models.metrics import Moments, frechet_distance

SEED = 2
STRENGTHS = (0.25, 0.5, 0.75, 1.0)
LEFT_OUT = 0.4  # of the classes, or photos, at full strength
DRAWS = 5  # of the classes to leave out

Row = tuple[str, list[float]]


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure fd against distortions.")
    parser.add_argument("source", type=Path, help="the folder that fetch.sh filled")
    torch.set_num_threads(1)
    material = Material.read(parser.parse_args().source)
    judge = embedded.load("cpu")
    sys.stdout.write(f"{judge.name} {judge.version}\n")
    tiles = _together(material.photos.test, material.photos.unseen)
    for title, labelled, side, count in (
        ("clothes, 32 px", material.clothes_test, 32, 2_000),
        ("photos, 32 px", tiles, 32, 1_000),
        ("photos, 64 px", tiles, 64, 1_000),
    ):
        sys.stdout.write(f"\n| {title}, n = {count:,} | {' | '.join(map(str, STRENGTHS))} |\n")
        sys.stdout.write("|---|" + "---|" * len(STRENGTHS) + "\n")
        for name, distances in rows(judge, labelled, side, count):
            sys.stdout.write(f"| {name} | {' | '.join(f'{distance:.2f}' for distance in distances)} |\n")
            sys.stdout.flush()


def rows(judge: Features, labelled: Labelled, side: int, count: int) -> Iterator[Row]:
    """Each distortion, and the distance of images so distorted from the reference at each strength."""
    random = Generator().manual_seed(SEED)
    order = torch.randperm(len(labelled.labels), generator=random).numpy()
    images = views.plain(torch.from_numpy(labelled.pixels[order]), side)
    labels = torch.from_numpy(labelled.labels[order[count:]])
    found = judge.of(images)
    reals, others = Moments.of(found[:count]), found[count:]
    yield "nothing", [frechet_distance(reals, others[:count])]
    for name, distort in (DISTORTIONS | NEVER_TRAINED_ON).items():
        yield (
            name,
            [
                frechet_distance(
                    reals, judge.of(_distorted(images[count : 2 * count], distort, strength, random))
                )
                for strength in STRENGTHS
            ],
        )
    yield (
        "classes left out",
        [
            float(
                np.mean(
                    [frechet_distance(reals, others[some[:count]]) for some in _without(labels, strength)]
                )
            )
            for strength in STRENGTHS
        ],
    )


def holes(images: Tensor, strength: Tensor, random: Generator) -> Tensor:
    """Put a grey square of up to half the side at a random place."""
    places = torch.arange(images.shape[-1])
    length = 0.5 * len(places) * strength.flatten()[:, None]  # (N, 1)
    start = torch.rand((2, len(images), 1), generator=random) * (len(places) - length)
    rows, columns = (places >= start) & (places < start + length)  # (N, S) each
    return images.masked_fill((rows[:, :, None] & columns[:, None])[:, None], 0)


def contrast(images: Tensor, strength: Tensor, _random: Generator) -> Tensor:
    """Blend with the image's mean."""
    return images.lerp(images.mean((1, 2, 3), keepdim=True), 0.7 * strength)


def salt(images: Tensor, strength: Tensor, random: Generator) -> Tensor:
    """Turn some pixels black, and as many white."""
    drawn = torch.rand((len(images), 1, *images.shape[2:]), generator=random)
    return images.masked_fill(drawn < 0.05 * strength, -1).masked_fill(drawn > 1 - 0.05 * strength, 1)


NEVER_TRAINED_ON: dict[str, Distortion] = {"holes": holes, "contrast": contrast, "salt": salt}


def _distorted(images: Tensor, distort: Distortion, strength: float, random: Generator) -> Tensor:
    return distort(images.clone(), torch.full((len(images), 1, 1, 1), strength), random).clamp(-1, 1)


def _without(labels: Tensor, strength: float) -> Iterator[Tensor]:
    """Indices of the images that remain when a run of labels is left out, once per starting label."""
    classes = torch.arange(int(labels.max()) + 1)
    missing = round(LEFT_OUT * strength * len(classes))
    for draw in range(DRAWS):
        left_out = classes.roll(-draw * len(classes) // DRAWS)[:missing]
        yield torch.isin(labels, left_out).logical_not().nonzero().flatten()


def _together(one: Labelled, other: Labelled) -> Labelled:
    labels = np.concatenate([one.labels, other.labels + one.labels.max() + 1])
    return Labelled(np.concatenate([one.pixels, other.pixels]), labels)


if __name__ == "__main__":
    main()
