"""Decoding in several threads, with a bound on the pixels that are in memory at once."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from PIL import Image

from models.allocator import give_back_freed_memory
from models.datasets.pictures import MAX_PIXELS, claimed_pixels, decode

Made = TypeVar("Made")

DECODERS = 4
"""Threads that decode; Pillow lets go of the interpreter."""

PIXELS_AT_ONCE = MAX_PIXELS
"""In all of them: one of the largest pictures, or several that are smaller."""

LARGE = PIXELS_AT_ONCE // DECODERS
"""Before and after a picture of more pixels freed memory is given back, which the heap of each thread keeps
for that thread alone. Not for others: it costs a third of their time to get it again."""


class PixelLimit:
    """Keeps the threads that share it from holding too many pixels: each waits until its own have room."""

    def __init__(self) -> None:
        self._free = PIXELS_AT_ONCE
        self._changed = threading.Condition()

    def decoded(self, content: bytes, use: Callable[[Image.Image], Made]) -> Made:
        """What `use` makes of the picture, as `decode` gives it; it must not keep the picture.

        Raises:
            UnusablePictureError: it is none that can be used.
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
