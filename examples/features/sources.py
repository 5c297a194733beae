"""The pictures that the feature network is trained on, as arrays; `fetch.sh` downloads them.

Everything is deterministic: random draws have fixed seeds.
"""

import gzip
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Pixels = NDArray[np.uint8]
Labels = NDArray[np.int64]

TILE = 64
TILES_OF_A_PHOTO = 240
TEST_STRIP = 0.2  # of a photo's width, at its right edge, for its test tiles
UNSEEN_EVERY = 5  # each fifth photo is never trained on
LARGEST_SIDE = 1536
SMALLEST_FILE = 60_000


@dataclass(frozen=True)
class Labelled:
    """Pictures (N, C, S, S), and their labels (N,)."""

    pixels: Pixels
    labels: Labels


@dataclass(frozen=True)
class Photos:
    """Tiles of photos: `train` and `test` come from the same photos, `unseen` from others."""

    train: Labelled
    test: Labelled
    unseen: Labelled


@dataclass(frozen=True)
class Material:
    """All pictures. Every fifth emoji of the second drawing is held out for testing."""

    clothes: Labelled
    clothes_test: Labelled
    emoji: Labelled
    emoji_test: Labelled
    photos: Photos

    @classmethod
    def read(cls, folder: Path) -> Self:
        first, second = emoji(folder, "google"), emoji(folder, "twitter")
        kept = second.labels % 5 == 0
        pixels = np.concatenate([first.pixels, second.pixels[~kept]])
        return cls(
            clothes=fashion(folder, "train"),
            clothes_test=fashion(folder, "t10k"),
            emoji=Labelled(pixels, np.concatenate([first.labels, second.labels[~kept]])),
            emoji_test=Labelled(second.pixels[kept], second.labels[kept]),
            photos=photos(folder),
        )


def fashion(folder: Path, part: str) -> Labelled:
    """Fashion-MNIST, `part` train or t10k: (N, 1, 28, 28) and ten kinds of clothes."""
    (source,) = folder.rglob(f"{part}-images-idx3-ubyte.gz")
    pixels = np.frombuffer(gzip.decompress(source.read_bytes())[16:], np.uint8)
    labels = np.frombuffer(
        gzip.decompress(source.with_name(f"{part}-labels-idx1-ubyte.gz").read_bytes())[8:], np.uint8
    )
    return Labelled(pixels.reshape(-1, 1, 28, 28), labels.astype(np.int64))


def emoji(folder: Path, style: str) -> Labelled:
    """The emoji in one style, google or twitter: (N, 4, 64, 64) with alpha; label k is the same in both."""
    (listing,) = folder.rglob(f"{style}/emoji.json")
    entries = json.loads(listing.read_text())
    pictures, labels = [], []
    for label, entry in enumerate(sorted(entries, key=lambda entry: str(entry["unified"]))):
        path = listing.parent / "img" / style / "64" / entry["image"]
        if path.exists():
            pictures.append(_planes(Image.open(path).convert("RGBA").resize((TILE, TILE))))
            labels.append(label)
    return Labelled(np.stack(pictures), np.array(labels))


def photos(folder: Path) -> Photos:
    """Random squares of many sizes from the photos below a folder, each shrunk to (3, 64, 64)."""
    train, test, unseen = [], [], []
    for index, path in enumerate(_photo_files(folder)):
        left, right = _split(_opened(path))
        if index % UNSEEN_EVERY == UNSEEN_EVERY - 1:
            unseen.append(_tiles(left, TILES_OF_A_PHOTO // 6, index))
        else:
            train.append(_tiles(left, TILES_OF_A_PHOTO, index))
            test.append(_tiles(right, TILES_OF_A_PHOTO // 6, index))
    return Photos(_labelled(train), _labelled(test), _labelled(unseen))


def _photo_files(folder: Path) -> Iterator[Path]:
    """The largest file of each wallpaper, without its copies for other screen sizes."""
    largest: dict[str, Path] = {}
    for path in sorted(folder.rglob("usr/share/*/**/*.*")):
        if path.suffix not in (".jpg", ".png") or path.is_symlink() or "screenshot" in path.name:
            continue
        size = path.stat().st_size
        many_sizes = path.parent if re.fullmatch(r"\d+x\d+", path.stem) else path
        named = re.sub(r"_\d+x\d+$", "", str(many_sizes.with_suffix("")))
        if size >= SMALLEST_FILE and (named not in largest or size > largest[named].stat().st_size):
            largest[named] = path
    return iter(largest.values())


def _opened(path: Path) -> Image.Image:
    with Image.open(path) as picture:
        picture.draft("RGB", (LARGEST_SIDE, LARGEST_SIDE))
        picture.thumbnail((LARGEST_SIDE, LARGEST_SIDE), Image.Resampling.BOX)
        return picture.convert("RGB")


def _split(picture: Image.Image) -> tuple[Image.Image, Image.Image]:
    border = int(picture.width * (1 - TEST_STRIP))
    left, right = (0, 0, border, picture.height), (border, 0, picture.width, picture.height)
    return picture.crop(left), picture.crop(right)


def _tiles(picture: Image.Image, count: int, seed: int) -> Pixels:
    draw = np.random.default_rng(seed)
    most = min(picture.size)
    made = []
    for _ in range(count):
        side = int(TILE * (most / TILE) ** draw.random())
        x, y = (int(draw.integers(0, length - side + 1)) for length in picture.size)
        tile = picture.resize((TILE, TILE), Image.Resampling.BOX, (x, y, x + side, y + side))
        made.append(_planes(tile))
    return np.stack(made)


def _planes(picture: Image.Image) -> Pixels:
    return np.asarray(picture).transpose(2, 0, 1).copy()


def _labelled(parts: list[Pixels]) -> Labelled:
    counts = [len(part) for part in parts]
    return Labelled(np.concatenate(parts), np.repeat(np.arange(len(parts)), counts))
