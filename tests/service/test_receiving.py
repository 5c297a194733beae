"""Receiving a file while the volume gets into trouble."""

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from contract.volume import Volume
from contract.volume_watch import VolumeWatch
from service.on_volume import OnVolume
from service.receiving import kept
from tests.service.waiting import until


def full_pipe(path: Path) -> int:
    """Make a file of which every write hangs until the returned descriptor is closed."""
    os.mkfifo(path)
    reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    writer = os.open(path, os.O_WRONLY | os.O_NONBLOCK)
    with contextlib.suppress(BlockingIOError):
        while True:
            os.write(writer, b"\0" * 4096)
    os.close(writer)
    return reader


def test_file_whose_close_hangs_is_discarded_off_the_event_loop(tmp_path: Path) -> None:
    volume = Volume(tmp_path)
    volume.lay_out()
    watch = VolumeWatch(volume)
    on_volume = OnVolume(volume, watch)
    path = volume.incoming_uploads / "half.zip"
    pipe = full_pipe(path)

    async def contents() -> AsyncIterator[bytes]:
        yield b"PK"

    def go_away(_: bytes) -> None:
        volume.jobs.rename(volume.root / "away")
        watch.look()

    async def receive() -> None:
        with contextlib.suppress(OSError):
            async with kept(on_volume, contents(), path, go_away):
                raise AssertionError("it was received")

    with ThreadPoolExecutor(1) as loop:
        try:
            loop.submit(asyncio.run, receive()).result(timeout=60)
        finally:
            os.close(pipe)
    until(lambda: not path.exists())
    on_volume.close()
