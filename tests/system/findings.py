"""Analyses the acts of all processes: was a job owned or computed twice, and how fast did it recover?"""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.system.inside.witness import Act, acts


@dataclass(frozen=True)
class Training:
    """How much was computed, and how much of it more than once."""

    images: int = 0
    seconds: float = 0.0
    images_again: int = 0
    seconds_again: float = 0.0


class Findings:
    """The findings about all jobs in a folder of witness files."""

    def __init__(self, witnesses: Path) -> None:
        self._acts: dict[str, list[Act]] = defaultdict(list)
        for act in sorted(acts(witnesses), key=lambda act: act.ended):
            self._acts[act.job].append(act)

    def doubled(self, job: str) -> list[str]:
        """Signs that two processes owned the job at the same time, each a sentence.

        These are a command that began after a newer owner's claim was answered, yet Redis accepted it under
        the older token; facts that were written under an older token than earlier facts; a second success.
        """
        done = self._acts[job]
        late = [
            *_later_than(done, "claimed", done_late="accepted"),
            *_later_than(done, "stated", done_late="stated"),
        ]
        signs = [f"{job}: {act.kind} {act.command} under {act.token} after {newer}" for act, newer in late]
        ends = sum(act.command == "leave succeeded" for act in done)
        return signs + [f"{job}: succeeded {ends} times"] * (ends > 1)

    def training(self, jobs: Iterable[str]) -> Training:
        """Sum up the training. A batch is repeated if any process had already trained the job that far."""
        images = images_again = 0
        seconds = seconds_again = 0.0
        for job in jobs:
            furthest = 0
            for act in self._acts[job]:
                if act.kind == "trained":
                    took = act.ended - act.began
                    images, seconds = images + act.images, seconds + took
                    if act.images_seen <= furthest:
                        images_again, seconds_again = images_again + act.images, seconds_again + took
                    furthest = max(furthest, act.images_seen)
        return Training(images, seconds, images_again, seconds_again)

    def recovery_seconds(self, job: str, struck_at: float) -> float | None:
        """The time from a fault until Redis knows of more images than were trained before it, or of success.

        None: the job was over.
        """
        done = self._acts[job]
        before = max((act.images_seen for act in done if act.ended <= struck_at), default=0)
        for act in done:
            is_further = act.images_seen > before or act.command == "leave succeeded"
            if act.kind == "accepted" and act.ended > struck_at and is_further:
                return act.ended - struck_at
        return None


def _later_than(done: list[Act], proof: str, *, done_late: str) -> Iterator[tuple[Act, int]]:
    """Yield `done_late` acts that began after a `proof` act under a newer token ended, with that token."""
    for act in done:
        if act.kind == done_late:
            newer = [one.token for one in done if one.kind == proof and one.ended < act.began]
            if newer and max(newer) > act.token:
                yield act, max(newer)
