"""Rebuild `fashion-mnist-5k.zip`: the first 5,000 training pictures as PNG files, with their licence.

    apt-get install dataset-fashion-mnist       # or fetch the four .gz files of zalandoresearch/fashion-mnist
    python examples/make_fashion_mnist.py /usr/share/datasets/fashion-mnist

`--count 60000 --to fashion-mnist.zip` makes one of the whole training set. With the same versions of
Pillow and zlib, the same input gives the same archive, byte for byte.
"""

import argparse
import gzip
import io
import struct
import zipfile
from collections.abc import Iterator
from pathlib import Path

from PIL import Image

SIDE = 28
LABELS = (
    "t-shirt",
    "trouser",
    "pullover",
    "dress",
    "coat",
    "sandal",
    "shirt",
    "sneaker",
    "bag",
    "ankle-boot",
)
ZLIB_STRATEGIES = (0, 1, 3)  # default, filtered, run lengths: none is the smallest for every picture
EPOCH = (1980, 1, 1, 0, 0, 0)  # the earliest time a zip can hold; the real one would change the bytes

LICENSE = """\
Fashion-MNIST, the first {count:,} pictures of its training set, each as a PNG file.
Source: https://github.com/zalandoresearch/fashion-mnist
Han Xiao, Kashif Rasul, Roland Vollgraf: Fashion-MNIST, a Novel Image Dataset for Benchmarking
Machine Learning Algorithms. arXiv 1708.07747, 2017.

The MIT License (MIT)

Copyright (c) 2017 Zalando SE, https://tech.zalando.com

Permission is hereby granted, free of charge, to any person obtaining a copy of this software and
associated documentation files (the "Software"), to deal in the Software without restriction,
including without limitation the rights to use, copy, modify, merge, publish, distribute, sublicense,
and/or sell copies of the Software, and to permit persons to whom the Software is furnished to do so,
subject to the following conditions:

The above copyright notice and this permission notice shall be included in all copies or substantial
portions of the Software.

THE SOFTWARE IS PROVIDED "AS IS", WITHOUT WARRANTY OF ANY KIND, EXPRESS OR IMPLIED, INCLUDING BUT NOT
LIMITED TO THE WARRANTIES OF MERCHANTABILITY, FITNESS FOR A PARTICULAR PURPOSE AND NONINFRINGEMENT. IN
NO EVENT SHALL THE AUTHORS OR COPYRIGHT HOLDERS BE LIABLE FOR ANY CLAIM, DAMAGES OR OTHER LIABILITY,
WHETHER IN AN ACTION OF CONTRACT, TORT OR OTHERWISE, ARISING FROM, OUT OF OR IN CONNECTION WITH THE
SOFTWARE OR THE USE OR OTHER DEALINGS IN THE SOFTWARE.
"""


def main() -> None:
    parser = argparse.ArgumentParser(description="Rebuild fashion-mnist-5k.zip from the original files.")
    parser.add_argument("source", type=Path, help="directory of train-images-idx3-ubyte.gz")
    parser.add_argument("--to", type=Path, default=Path(__file__).with_name("fashion-mnist-5k.zip"))
    parser.add_argument("--count", type=int, default=5_000, help="how many pictures, from the first on")
    given = parser.parse_args()
    write_archive(given.source, given.to, given.count)


def write_archive(source: Path, target: Path, count: int) -> None:
    """Write the zip, its files in the order of the training set."""
    labels = _values(source / "train-labels-idx1-ubyte.gz")[:count]
    with zipfile.ZipFile(target, "w") as archive:
        archive.writestr(_entry("LICENSE.txt", zipfile.ZIP_DEFLATED), LICENSE.format(count=count))
        # In a file of their own and not in the names, which a zip stores twice: this saves 60 kB.
        named = "".join(f"{index:05d} {LABELS[label]}\n" for index, label in enumerate(labels))
        archive.writestr(_entry("labels.txt", zipfile.ZIP_DEFLATED), named)
        for index, picture in enumerate(_pictures(source, count)):
            archive.writestr(_entry(f"{index:05d}.png", zipfile.ZIP_STORED), _png(picture))


def _pictures(source: Path, count: int) -> Iterator[bytes]:
    pixels = _values(source / "train-images-idx3-ubyte.gz")
    area = SIDE * SIDE
    return (pixels[start : start + area] for start in range(0, count * area, area))


def _values(path: Path) -> bytes:
    """The data after an idx header: two zeros, type, number of dimensions, their sizes as big-endian u32."""
    content = gzip.decompress(path.read_bytes())
    dimensions = content[3]
    sizes = struct.unpack_from(f">{dimensions}I", content, 4)
    assert dimensions == 1 or sizes[1:] == (SIDE, SIDE)
    return content[4 + 4 * dimensions :]


def _png(pixels: bytes) -> bytes:
    picture = Image.frombytes("L", (SIDE, SIDE), pixels)
    return min((_encoded(picture, strategy) for strategy in ZLIB_STRATEGIES), key=len)


def _encoded(picture: Image.Image, strategy: int) -> bytes:
    file = io.BytesIO()
    picture.save(file, "PNG", optimize=True, compress_type=strategy)
    return file.getvalue()


def _entry(name: str, compression: int) -> zipfile.ZipInfo:
    entry = zipfile.ZipInfo(name, EPOCH)
    entry.compress_type = compression
    entry.external_attr = 0o644 << 16
    return entry


if __name__ == "__main__":
    main()
