"""A dataset's pictures as an array of one size, derived once from the original and mapped by trainers."""

import contextlib
import fcntl
import os
import time
import zipfile
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from contract.dataset import ArrayForm, Manifest
from contract.durable import Insist, Read, RequireRoom, at_once, once, own_temporary, published
from contract.volume import Volume
from models.datasets.decoding import DECODERS, PixelLimit
from models.datasets.pictures import square
from models.datasets.source import Source
from models.datasets.unpacking import content_of
from models.silence import silent

Pixels = NDArray[np.uint8]

CHUNK = 64
"""Pictures handed to the decoder threads at a time."""

WAIT_SECONDS = 0.5
"""The polling interval while another process derives an array."""

SYNC_BYTES = 128 * 2**20

PATIENCE_POLLS = 120
"""A process that has written nothing during this many polls, a minute, is taken for suspended."""


def array(
    volume: Volume,
    manifest: Manifest,
    form: ArrayForm,
    report: Callable[[int, int], None] = silent,
    insist: Insist = once,
    read: Read = at_once,
) -> Pixels:
    """Every usable picture (N, C, R, R), in the order of the manifest, mapped into memory.

    The mapping is copy-on-write, so the file cannot be changed through it. A missing array is derived first:
    one process does the work while the others wait and report 0 to `report`, but not for a suspended one.
    Deriving it twice is harmless: the bytes are the same.

    Raises:
        UnreadableError: the volume does not give the original back.
        OSError: it accepts no array, or does not give it back.
    """
    path = volume.array(manifest.id, form)

    def make(require_room: RequireRoom) -> None:
        if _is_there(path, lambda: report(0, manifest.images)):
            return
        require_room()
        path.parent.mkdir(exist_ok=True)
        with (
            contextlib.closing(Source(volume.original(manifest.id), read)) as original,
            _begun(path) as temporary,
            published(path, temporary) as file,
        ):
            _derive(original, manifest, file, form, report)

    insist(make, path, manifest.images * form.picture_bytes)
    pixels: Pixels = read(lambda: np.load(path, mmap_mode="c"), path)
    return pixels


def _is_there(path: Path, show_life: Callable[[], None]) -> bool:
    """Whether the array is there, if need be after a wait for a process that derives it.

    Polls and shows life, because a process that is silent while it waits is taken for hung.
    """
    written_bytes, patience = None, PATIENCE_POLLS
    while True:
        before, written_bytes = written_bytes, _underway_bytes(path)
        if path.exists():
            return True
        patience = patience - 1 if written_bytes == before else PATIENCE_POLLS
        if written_bytes is None or not patience:
            return False
        show_life()
        time.sleep(WAIT_SECONDS)


def _underway_bytes(path: Path) -> int | None:
    """How much living processes have written of the array; None if there are none.

    Removes what dead ones left of this array and others, which would take up room.
    """
    sizes = []
    for temporary in path.parent.glob(".*.tmp"):
        with contextlib.suppress(OSError), temporary.open("rb+") as file:  # it has been renamed, say
            if _takes(file):
                temporary.unlink()
            elif temporary.name.startswith(f".{path.name}."):
                sizes.append(os.fstat(file.fileno()).st_size)
    return sum(sizes) if sizes else None


@contextlib.contextmanager
def _begun(path: Path) -> Iterator[Path]:
    """A new temporary file, locked until it has its final name; the system unlocks it if the process dies.

    Its name is its own: a process that goes on after it was taken for suspended or dead disturbs nobody.
    """
    while True:
        temporary = own_temporary(path)
        with temporary.open("xb") as file:
            if _takes(file) and os.fstat(file.fileno()).st_nlink:  # else another process has just removed it
                yield temporary
                return


def _takes(file: BinaryIO) -> bool:
    """Lock a temporary file, unless a living process has."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _derive(
    original: Source,
    manifest: Manifest,
    file: BinaryIO,
    form: ArrayForm,
    report: Callable[[int, int], None],
) -> None:
    """Write the array to a file, a picture at a time.

    Uses writes rather than a mapping, because a mapping on a full disk kills the process with SIGBUS. Syncs
    now and then: during one long sync at the end the file would not grow, as if its process were suspended.
    """
    shape = (manifest.images, form.channels, form.resolution, form.resolution)
    header = {"descr": "|u1", "fortran_order": False, "shape": shape}
    synced_every = max(SYNC_BYTES // form.picture_bytes, 1)
    np.lib.format.write_array_header_1_0(file, header)
    with contextlib.closing(_rows(original, manifest, form)) as rows:
        for count, pixels in enumerate(rows, 1):
            file.write(pixels.tobytes())
            if count % synced_every == 0:
                file.flush()
                os.fsync(file.fileno())
            report(count, manifest.images)


def _rows(original: Source, manifest: Manifest, form: ArrayForm) -> Generator[Pixels, None, None]:
    """The pictures of the array, (C, R, R) each, decoded at most one chunk ahead."""
    limit = PixelLimit()
    with zipfile.ZipFile(original) as opened, ThreadPoolExecutor(DECODERS) as pool:
        for start in range(0, manifest.images, CHUNK):
            names = manifest.files[start : start + CHUNK]
            yield from pool.map(lambda name: _pixels(content_of(opened, name), form, limit), names)


def _pixels(content: bytes, form: ArrayForm, limit: PixelLimit) -> Pixels:
    """One picture as (C, R, R)."""
    mode = "L" if form.channels == 1 else "RGB"
    return limit.decoded(
        content, lambda picture: _channels_first(square(picture.convert(mode), form.resolution, form.fit))
    )


def _channels_first(picture: Image.Image) -> Pixels:
    pixels = np.asarray(picture).reshape(picture.height, picture.width, -1)  # (R, R, C)
    return pixels.transpose(2, 0, 1)  # (C, R, R)
