"""Calls on the volume whose callers no longer wait."""

import asyncio
import threading
from pathlib import Path

import pytest

from contract.durable import LACKS
from contract.volume import Volume
from contract.volume_watch import VolumeWatch
from service.alone import alone
from service.gateway import Gateway
from service.on_volume import _THREADS, OnVolume
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


def test_call_that_no_thread_can_begin_is_refused_until_one_is_free(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("service.on_volume._BUSY_SECONDS", 0.3)
    have_begun, may_end, done = threading.Barrier(_THREADS + 1), threading.Event(), list[str]()

    def hang() -> None:
        have_begun.wait()
        may_end.wait()

    async def crowd() -> None:
        volume = Volume(tmp_path)
        volume.lay_out()
        on_volume = OnVolume(volume, VolumeWatch(volume))
        hanging = [asyncio.create_task(on_volume(hang)) for _ in range(_THREADS)]
        await asyncio.to_thread(have_begun.wait)
        async with asyncio.timeout(20):
            with pytest.raises(OSError, match="16 calls have not ended") as refusal:
                await on_volume(done.append, "what was refused")
            assert LACKS[refusal.value.errno or 0] == "volume_failing"
            await on_volume.at_last(done.append, "what is done at last")
        with pytest.raises(OSError, match="16 calls have not ended"):
            on_volume.require()
        may_end.set()
        await asyncio.gather(*hanging)
        await on_volume(done.append, "what comes later")

    try:
        asyncio.run(crowd())
    finally:
        may_end.set()
    assert done == ["what is done at last", "what comes later"]


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
            gateway.background.run(move())
            assert await asyncio.to_thread(has_begun.wait, 20)

    gateway = Gateway(Settings(data_root=tmp_path, redis_url=redis_url))
    gateway.volume.lay_out()
    try:
        asyncio.run(close())
    finally:
        may_end.set()
