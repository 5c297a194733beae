"""A file on a volume that hangs."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def hangs(path: Path) -> Iterator[None]:
    """Whoever reads this file hangs until the end of the block; then it does not exist."""
    os.mkfifo(path)  # whoever opens it waits for a writer
    try:
        yield
    finally:
        writer = os.open(path, os.O_RDWR | os.O_NONBLOCK)
        path.unlink()  # while there is a writer: who opened it afterwards would hang for ever
        os.close(writer)
