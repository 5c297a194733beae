"""Calls on the volume whose callers no longer wait."""

import asyncio
import threading
from pathlib import Path

from contract.volume import Volume
from contract.volume_watch import VolumeWatch
from service.alone import alone
from service.gateway import Gateway
from service.on_volume import OnVolume
from service.settings import Settings


def test_call_whose_client_left_delays_no_other_while_the_volume_is_well(tmp_path: Path) -> None:
    has_begun, may_end = threading.Event(), threading.Event()
    ended: list[str] = []

    def read_slowly() -> None:
        has_begun.set()
        may_end.wait()
        ended.append("the call")

    async def read_for_a_client(on_volume: OnVolume) -> None:
        try:
            await on_volume(read_slowly)
        finally:
            await on_volume.at_last(lambda: ended.append("what its caller does at last"))

    async def leave() -> str | None:
        volume = Volume(tmp_path)
        volume.lay_out()
        on_volume = OnVolume(volume, VolumeWatch(volume))
        left = asyncio.create_task(read_for_a_client(on_volume))
        await asyncio.to_thread(has_begun.wait)
        left.cancel()
        async with asyncio.timeout(20):
            assert await on_volume(volume.jobs.is_dir)
            await on_volume.at_last(lambda: ended.append("what another does at last"))
        may_end.set()
        await asyncio.wait([left])
        return on_volume.trouble

    try:
        assert asyncio.run(leave()) is None
    finally:
        may_end.set()
    assert ended == ["what another does at last", "the call", "what its caller does at last"]


def test_gateway_closes_while_a_call_of_the_holder_of_a_lock_hangs(tmp_path: Path, redis_url: str) -> None:
    has_begun, may_end = threading.Event(), threading.Event()

    def hang() -> None:
        has_begun.set()
        may_end.wait()

    async def move() -> None:
        async with alone(gateway, gateway.volume.aliases, doing="changing an alias"):
            await gateway.on_volume(hang)

    async def close() -> None:
        async with asyncio.timeout(20), gateway.running():
            gateway.later(move())
            assert await asyncio.to_thread(has_begun.wait, 20)

    gateway = Gateway(Settings(data_root=tmp_path, redis_url=redis_url))
    gateway.volume.lay_out()
    try:
        asyncio.run(close())
    finally:
        may_end.set()
