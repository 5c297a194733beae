"""Claim: unique seeds are served three times as fast as by LitServe, a single one in half the time.

    python benchmarks/serving.py [--rounds 3] [--seconds 4] [--resolution 32] [--samplers 1]

Compares `dcgan up` with LitServe (in its own virtual environment, created if missing), a plain FastAPI route
that renders one sample per request, and a route that returns constant bytes. All serve the same weights on
the same cores as this client, one after the other in each round; rivals are paused while others are measured.

Every response is checked: ours must equal, byte for byte, the response to the same seed requested alone, and
so must each file of an archive; constant bytes must equal the first ones; a rival's response must be a
complete PNG of the right size. A check takes the client about a microsecond, an archive's one for each file.
Ours is asked for `--seeds` seeds in turn, enough that its cache evicts each long before it repeats.

Results are medians of the rounds, without the warm-up round. Open loops have Poisson arrivals, and their
latency counts from the scheduled time; a timer may be a millisecond late.
"""

import argparse
import asyncio
import itertools
import json
import statistics
import sys
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory

import uvloop

from benchmarks.load.bare import bare_rate
from benchmarks.load.client import Address, Connection
from benchmarks.load.deployment import Laid, lay_generator
from benchmarks.load.loops import Results, closed_loop, median, open_loop
from benchmarks.load.players import Player, start_litserve, start_ours, start_plain
from benchmarks.load.questions import CACHE_BYTES, MANY, Questions, Seen, constant_question, rival_questions

IN_A_CALL = f"{MANY} seeds in a call"
CONNECTIONS = (1, 16, 64)


@dataclass
class Row:
    """One kind of load on one player, and its results in each round."""

    player: Player
    name: str
    questions: Questions
    connections: int = 0
    rate: float = 0.0
    warmth: Questions = lambda: iter(())
    """Requests sent first in each round, which do not count."""
    rounds: list[Results] = field(default_factory=list)
    server_us: list[float] = field(default_factory=list)
    """CPU time of the server's processes per response."""

    async def play(self, seconds: float, chance: Random) -> None:
        connection = await Connection.open(self.player.address)
        for question in self.warmth():
            await connection.ask(question.request)
        connection.close()
        before = self.player.cpu_seconds()
        if self.rate:
            loop = open_loop(self.player.address, self.questions(), self.rate, seconds, chance)
        else:
            loop = closed_loop(self.player.address, self.questions(), self.connections, seconds)
        results = await loop
        self.rounds.append(results)
        self.server_us.append(1e6 * (self.player.cpu_seconds() - before) / len(results.told))

    @property
    def load(self) -> str:
        return f"{self.rate:g}/s offered" if self.rate else f"{self.connections} connections"

    @property
    def speed(self) -> float:
        return median([results.rate for results in self.rounds])

    def latency_ms(self, percent: int) -> float:
        return median([results.percentile_ms(percent) for results in self.rounds])


def main() -> None:
    given = _parse()
    print(_machine(), flush=True)
    with TemporaryDirectory() as folder:
        generator = lay_generator(Path(folder) / "data", given.resolution)
        players: dict[str, Player] = {}
        try:
            _start_all(given, generator, Path(folder), players)
            with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
                runner.run(measure(given, generator, players))
        finally:
            for player in players.values():
                player.end()


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Samples by seed: ours, LitServe, plain FastAPI.")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=4, help="of each row in each round")
    parser.add_argument("--resolution", type=int, default=32)
    parser.add_argument("--samplers", type=int, default=1, help="sampler processes of ours")
    parser.add_argument("--seeds", type=int, default=4096, help="that ours is asked for in turn")
    parser.add_argument("--rates", type=float, nargs="*", default=[100, 400], help="of the open loops")
    parser.add_argument("--only", nargs="*", default=["litserve", "plain"], help="the rivals to play against")
    parser.add_argument(
        "--litserve",
        type=Path,
        default=Path(".venv/litserve"),
        help="LitServe's environment",
    )
    parser.add_argument("--threads", type=int, default=1, help="torch's, at each rival")
    parser.add_argument("--fast-queue", action="store_true", help="LitServe over ZeroMQ")
    return parser.parse_args()


def _machine() -> str:
    from importlib.metadata import version

    cpus = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    names = [line.partition(": ")[2] for line in cpus if line.startswith("model name")]
    python = ".".join(map(str, sys.version_info[:3]))
    packages = ", ".join(f"{name} {version(name)}" for name in ("torch", "fastapi", "uvicorn", "redis"))
    return f"{len(names)} × {names[0] if names else 'unknown'}; Python {python}, {packages}"


def _start_all(given: argparse.Namespace, generator: Laid, folder: Path, players: dict[str, Player]) -> None:
    """Add each player as soon as it starts, so that all are ended if a later one fails."""
    players["ours"] = start_ours(folder / "data", given.samplers, CACHE_BYTES)
    if "litserve" in given.only:
        players["litserve"] = start_litserve(
            generator,
            given.threads,
            given.litserve,
            folder / "litserve.log",
            fast_queue=given.fast_queue,
        )
    if "plain" in given.only:
        players["plain"] = start_plain(generator, given.threads, folder / "plain.log")


async def measure(given: argparse.Namespace, generator: Laid, players: dict[str, Player]) -> None:
    """Measure all rows, round by round, and print the results."""
    ours = players["ours"]
    seen = await Seen.learn(ours.address, generator, given.seeds, CACHE_BYTES)
    rows = [*_rows_of_ours(ours, seen, given.rates), *_rows_of_rivals(players, generator, given.rates)]
    if await _takes_lists(ours.address, generator):
        rows.append(Row(ours, IN_A_CALL, seen.lists, 1))
    for player in players.values():
        player.sleep()
    for number in range(given.rounds + 1):
        for row in rows:
            with row.player.turn():
                await row.play(given.seconds if number else min(1, given.seconds), Random(number))
    for row in rows:
        del row.rounds[0], row.server_us[0]  # the warm-up round
    _tell(rows)
    for row in rows:
        if row.name == IN_A_CALL:
            bare = bare_rate(generator, MANY, given.rounds)
            print(
                f"{IN_A_CALL}: {row.speed * MANY:.0f} images/s, {row.speed * MANY / bare:.0%} (≥ 60 %) of",
                end="",
            )
            print(f" the {bare:.0f} of generator and encoder alone on one core")


def _rows_of_ours(ours: Player, seen: "Seen", rates: list[float]) -> list[Row]:
    return [
        *(Row(ours, "unique seeds", seen.unique, count) for count in CONNECTIONS),
        *(Row(ours, "unique seeds", seen.unique, rate=rate) for rate in rates),
        *(Row(ours, "cached", seen.cached, count, warmth=seen.held) for count in (1, 64)),
        *(Row(ours, "304", seen.known, count) for count in (1, 64)),
    ]


def _rows_of_rivals(players: dict[str, Player], generator: Laid, rates: list[float]) -> list[Row]:
    rows = []
    for rival in (players[name] for name in ("litserve", "plain") if name in players):
        questions = rival_questions(rival, generator)
        rows += [Row(rival, "unique seeds", questions, count) for count in CONNECTIONS]
        rows += [Row(rival, "unique seeds", questions, rate=rate) for rate in rates]
    if "plain" in players:
        questions = constant_question(players["plain"], generator)
        rows += [Row(players["plain"], "constant bytes", questions, count) for count in (1, 64)]
    return rows


async def _takes_lists(address: Address, generator: Laid) -> bool:
    connection = await Connection.open(address)
    body = {"model": generator.digest, "seeds": [1, 2], "format": "zip"}
    reply = await connection.ask(address.post("/samples", json.dumps(body).encode()))
    connection.close()
    if reply.status != 200:
        print(f"POST /samples is left out: it answers {reply.status}")
    return reply.status == 200


def _tell(rows: list[Row]) -> None:
    print(
        f"\n{'':<10}{'':<22}{'':<18}{'req/s':>8}{'p50 ms':>9}{'p99 ms':>9}  CPU µs: server, client; not good"
    )
    for row in rows:
        refused = sum(len(results.told) - len(results.good) for results in row.rounds)
        failed = sum(results.failed for results in row.rounds)
        wrong = sum(results.wrong for results in row.rounds)
        client = median([results.client_us for results in row.rounds])
        print(
            f"{row.player.name:<10}{row.name:<22}{row.load:<18}{row.speed:>8.0f}{row.latency_ms(50):>9.2f}"
            f"{row.latency_ms(99):>9.2f}  {median(row.server_us):.0f}, {client:.0f}; "
            f"{refused} refused, {failed} unanswered, {wrong} wrong"
        )
    _tell_ratios(rows)
    _tell_stages(rows)


def _tell_ratios(rows: list[Row]) -> None:
    by = {(row.player.name, row.name, row.connections): row for row in rows if row.connections}

    def ratio(
        label: str, ours: Row | None, theirs: Row | None, goal: str, of: Callable[[Row], float]
    ) -> None:
        if ours and theirs:
            print(f"{label}: {of(ours) / of(theirs):.2f} ({goal})")

    print()
    for name in ("LitServe", "plain"):
        for count in CONNECTIONS:
            unique = by["ours", "unique seeds", count], by.get((name, "unique seeds", count))
            ratio(f"req/s against {name}, {count}", *unique, "≥ 3 at 64", lambda row: row.speed)
        one = by["ours", "unique seeds", 1], by.get((name, "unique seeds", 1))
        ratio(f"p50 against {name}, 1", *one, "≤ 0.5", lambda row: row.latency_ms(50))
    for kind, count in itertools.product(("cached", "304"), (1, 64)):
        pair = by["ours", kind, count], by.get(("plain", "constant bytes", count))
        ratio(f"{kind} against constant bytes, {count}", *pair, "≥ 0.7", lambda row: row.speed)


def _tell_stages(rows: list[Row]) -> None:
    for row in rows:
        stages: defaultdict[str, list[float]] = defaultdict(list)
        for results in row.rounds:
            for name, durations in results.stages_ms.items():
                stages[name] += durations
        if stages:
            shares = ", ".join(f"{name} {statistics.mean(of):.2f}" for name, of in stages.items())
            print(f"stages of {row.name}, {row.load}, in ms: {shares}")


if __name__ == "__main__":
    main()
