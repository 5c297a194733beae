"""Decoding in several threads, with a limit on the number of pixels in memory at once."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from PIL import Image

from models.allocator import give_back_freed_memory
from models.datasets.pictures import MAX_PIXELS, claimed_pixels, decode

Made = TypeVar("Made")

DECODERS = 4
"""Decoder threads; they run in parallel because Pillow releases the GIL."""

PIXELS_AT_ONCE = MAX_PIXELS
"""The limit over all threads: one picture of the largest size, or several smaller ones."""

LARGE = PIXELS_AT_ONCE // DECODERS
"""Before and after a picture with more pixels, freed memory is returned to the system, because each thread's
heap would keep it for that thread alone. For smaller pictures this would cost a third of their time."""


class PixelLimit:
    """Limits the pixels that threads hold at once: each thread waits until there is room for its own."""

    def __init__(self) -> None:
        self._free = PIXELS_AT_ONCE
        self._changed = threading.Condition()

    def decoded(self, content: bytes, use: Callable[[Image.Image], Made]) -> Made:
        """Decode a picture and return the result of `use`, which must not keep a reference to the picture.

        Raises:
            UnusablePictureError: the picture is unusable.
        """
        count = claimed_pixels(content)
        with self._room(count):
            return use(decode(content))

    @contextmanager
    def _room(self, count: int) -> Iterator[None]:
        with self._changed:
            self._changed.wait_for(lambda: count <= self._free)
            self._free -= count
        try:
            _tidy(count)
            yield
        finally:
            _tidy(count)
            with self._changed:
                self._free += count
                self._changed.notify_all()


def _tidy(count: int) -> None:
    if count > LARGE:
        give_back_freed_memory()
