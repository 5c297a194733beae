"""Claim: under ten times the load it can serve, the service keeps its throughput and uses no more memory.

    python benchmarks/overload.py [--seconds 60] [--requests 100000] [--count 16] [--seeds 2048]

Requests sheets of `--count` images in a closed loop, to find the peak rate, then at a tenth of it, at ten
times it, and at a tenth again. Then requests a large number of single images, and prints the memory of
gateway and sampler along the way.

Every picture is compared with what its seeds gave when requested alone: `--seeds` of them, learnt beforehand.
They are requested in turn, so that the gateway's cache, which is small here, has evicted each before it
repeats. Sheets repeat only after some thousands, when each is long answered: two waiting for the same sheet
would be answered by one rendering.
"""

import argparse
import asyncio
import math
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory

import uvloop

from benchmarks.load.client import Address
from benchmarks.load.deployment import lay_generator
from benchmarks.load.loops import Question, Results, closed_loop, open_loop, percentile_ms
from benchmarks.load.players import Player, start_ours
from benchmarks.load.questions import Seen
from benchmarks.load.sheets import sheets

CONNECTIONS = 16
"""Enough to keep samplers busy, but few enough that the queue rejects none."""
FACTOR = 10
CACHE_BYTES = 2 * 2**20
CALM_SECONDS = 3.0
SLACK_SECONDS = 0.05
"""Latencies up to this are normal in any case: a twentieth of what accepted requests wait during a flood."""


@dataclass(frozen=True)
class Flood:
    """The results before, during and after the flood; the peak is measured before and after."""

    peak: Results
    before: Results
    flood: Results
    after: Results
    peak_after: Results

    @property
    def goodput(self) -> float:
        """The share of the peak rate that is served during the flood."""
        return 2 * self.flood.rate / (self.peak.rate + self.peak_after.rate)

    def recovered_after_seconds(self, slack_seconds: float = SLACK_SECONDS) -> float:
        """From the last request of the flood to the end of the last slow second after it.

        A request is slow if it failed, or took longer than the slack and than the p99 of the same load before
        the flood. A second is slow if over half of its requests are, and more than one: a backlog delays all,
        noise a few. If the last second is slow, nothing has recovered: infinity.
        """
        normal = max(slack_seconds, self.before.percentile_ms(99) / 1000)
        start = min(one.since for one in self.after.told)
        seconds: defaultdict[int, list[bool]] = defaultdict(list)
        for one in self.after.told:
            seconds[int(one.since - start)].append(one.status != 200 or one.seconds > normal)
        slow = [number for number, which in seconds.items() if sum(which) > max(1, len(which) / 2)]
        last = max(slow, default=-1)
        ended = math.inf if last == max(seconds) else start + last + 1
        return ended - max(one.since for one in self.flood.told)


def main() -> None:
    parser = argparse.ArgumentParser(description="Overload, and memory over many requests.")
    parser.add_argument("--seconds", type=float, default=60, help="of the flood")
    parser.add_argument("--requests", type=int, default=100_000, help="over which memory is looked at")
    parser.add_argument("--count", type=int, default=16, help="images of a sheet")
    parser.add_argument("--seeds", type=int, default=2048, help="that are learnt beforehand")
    parser.add_argument("--samplers", type=int, default=1)
    given = parser.parse_args()
    with TemporaryDirectory() as folder:
        laid = lay_generator(Path(folder) / "data", 32)
        ours = start_ours(Path(folder) / "data", given.samplers, CACHE_BYTES)
        try:
            with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
                seen = runner.run(Seen.learn(ours.address, laid, given.seeds, CACHE_BYTES))
                tell_flood(runner.run(flood(ours.address, sheets(seen, given.count), given.seconds)))
                runner.run(tell_memory(ours, seen.unique(), given.requests))
        finally:
            ours.end()


async def flood(
    address: Address, questions: Iterator[Question], seconds: float, calm_seconds: float = CALM_SECONDS
) -> Flood:
    """Measure the peak, and ten times that rate between two times a tenth of it.

    Then the peak again, in case the machine varies.
    """
    await closed_loop(address, questions, CONNECTIONS, calm_seconds)
    peak = await closed_loop(address, questions, CONNECTIONS, 2 * calm_seconds)
    before = await open_loop(address, questions, peak.rate / FACTOR, 2 * calm_seconds, Random(2))
    flooded = await open_loop(address, questions, FACTOR * peak.rate, seconds, Random(0))
    after = await open_loop(address, questions, peak.rate / FACTOR, 2 * calm_seconds, Random(1))
    peak_after = await closed_loop(address, questions, CONNECTIONS, 2 * calm_seconds)
    return Flood(peak, before, flooded, after, peak_after)


def tell_flood(seen: Flood) -> None:
    peak, flooded = seen.peak, seen.flood
    refusals = [one.sent_seconds for one in flooded.told if one.status == 503]
    others = len(flooded.told) - len(flooded.good) - len(refusals)
    print(f"peak     {peak.rate:.0f} and {seen.peak_after.rate:.0f} sheets/s, ", end="")
    print(_latency([one.seconds for one in peak.good]))
    print(f"before   {_latency([one.seconds for one in seen.before.good])}, {dict(seen.before.statuses)}")
    print(f"offered  {len(flooded.told) / flooded.seconds:.0f}/s, client {flooded.client_us:.0f} µs each")
    print(f"served   {flooded.rate:.0f}/s, {seen.goodput:.0%} of the peak, {flooded.wrong} wrong, ", end="")
    print(_latency([one.seconds for one in flooded.good]))
    print(f"refused  {len(refusals)}, {_latency(refusals)}; 504 and others {others}; ", end="")
    print(f"unanswered {flooded.failed} {dict(flooded.failures) or ''}")
    print(
        f"after    {_latency([one.seconds for one in seen.after.good])}, {dict(seen.after.statuses)}; ",
        end="",
    )
    print(f"as before from {seen.recovered_after_seconds():.1f} s after the last request of the flood")


def _latency(seconds: list[float]) -> str:
    return ", ".join(f"p{percent} {percentile_ms(seconds, percent):.1f}" for percent in (50, 99, 100)) + " ms"


async def tell_memory(ours: Player, questions: Iterator[Question], requests: int) -> None:
    """Print resident memory over many requests; the cache fills up early on."""
    print("requests  gateway MB  sampler MB")
    for share in (0.1, 0.3, 0.3, 0.3):
        done = 0
        while done < share * requests:
            done += len((await closed_loop(ours.address, questions, CONNECTIONS, 1)).told)
        weights = (ours.memory("-m service --host"), ours.memory("-m worker --role sample"))
        print(f"+{done:<8} " + " ".join(f"{weight / 1e6:>11.1f}" for weight in weights), flush=True)


if __name__ == "__main__":
    main()
