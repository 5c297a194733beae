"""The work that rendering a picture costs the gateway."""

import asyncio
import time
from typing import Any

import pytest
from starlette.requests import Request
from starlette.types import Message

from contract.errors import ErrorCode, ServiceError
from contract.latents import pack
from contract.sampling import CheckpointPlace, SampleSpec
from service.mailbox import Mailbox
from service.pictures import Pictures
from tests.service.playing import Sampler

PLACE = CheckpointPlace(job="job_" + "0" * 16, file="f")
DIGEST = "sha256:" + "0" * 64
SPECS = {
    "row": SampleSpec(digest=DIGEST, seed=1),
    "listed": SampleSpec(digest=DIGEST, count=2, listed=(4, 2)),
    "latents": SampleSpec(digest=DIGEST, latents=pack([[0.5, -1.0]])),
}


async def _silence() -> Message:
    return await asyncio.Future()


@pytest.mark.parametrize("spec", SPECS.values(), ids=SPECS)
def test_canonical_text_of_a_spec_is_built_only_for_its_etag(
    redis_url: str, sampler: Sampler, spec: SampleSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    """For 512 latents of 128 numbers, it takes a quarter of a millisecond."""
    made = []
    canonical = SampleSpec.canonical

    def watched(self: SampleSpec) -> str:
        if self is spec:
            made.append(self)
        return canonical(self)

    async def ask() -> list[bytes]:
        mailbox = Mailbox(redis_url, timeout_seconds=20, queue_limit=10)
        running = asyncio.create_task(mailbox.run())
        pictures = Pictures(mailbox, 1000)
        pictures.require_room(spec, PLACE)
        alike = (spec, spec.model_copy())
        request = Request({"type": "http"}, _silence)
        until = mailbox.deadline(time.monotonic())
        got = await asyncio.gather(*(pictures.render(one, PLACE, request, until) for one in alike))
        mailbox.close()
        await running
        return [picture.content for picture in got]

    monkeypatch.setattr(SampleSpec, "canonical", watched)
    assert asyncio.run(ask()) == [canonical(spec).encode()] * 2
    assert (len(made), len(sampler.asks)) == (1, 1)


def test_rendering_is_not_shared_with_a_place_where_the_generator_is_gone(
    redis_url: str, sampler: Sampler
) -> None:
    places = (PLACE, CheckpointPlace(job="imported", file="f"))
    sampler.gone.add(PLACE)
    spec = SPECS["row"]

    async def ask() -> list[Any]:
        mailbox = Mailbox(redis_url, timeout_seconds=20, queue_limit=10)
        running = asyncio.create_task(mailbox.run())
        pictures = Pictures(mailbox, 1000)
        request = Request({"type": "http"}, _silence)
        until = mailbox.deadline(time.monotonic())
        asked = [pictures.render(spec, place, request, until) for place in places]
        got = await asyncio.gather(*asked, return_exceptions=True)
        mailbox.close()
        await running
        return got

    refusal, picture = asyncio.run(ask())
    assert isinstance(refusal, ServiceError)
    assert refusal.code is ErrorCode.CHECKPOINT_UNREADABLE
    assert picture.content == spec.canonical().encode()


def test_each_of_two_requests_for_one_picture_is_told_its_own_wait(redis_url: str, sampler: Sampler) -> None:
    async def ask() -> list[float]:
        mailbox = Mailbox(redis_url, timeout_seconds=20, queue_limit=10)
        running = asyncio.create_task(mailbox.run())
        pictures = Pictures(mailbox, 1000)
        request = Request({"type": "http"}, _silence)
        sampler.hold()
        asked = []
        for _ in range(2):
            until = mailbox.deadline(time.monotonic())
            asked.append(asyncio.ensure_future(pictures.render(SPECS["row"], PLACE, request, until)))
            await asyncio.sleep(0.5)
        sampler.held.clear()
        got = await asyncio.gather(*asked)
        mailbox.close()
        await running
        return [picture.stages["queue"] for picture in got]

    first, second = asyncio.run(ask())
    assert len(sampler.asks) == 1
    assert first >= second + 400  # ms
