"""What the acts of all processes add up to: was a job owned or computed twice, and how soon was it back?"""

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
    """Of all jobs in a folder of witnesses."""

    def __init__(self, witnesses: Path) -> None:
        self._acts: dict[str, list[Act]] = defaultdict(list)
        for act in sorted(acts(witnesses), key=lambda act: act.ended):
            self._acts[act.job].append(act)

    def doubled(self, job: str) -> list[str]:
        """Signs that two processes owned the job at one time, each a sentence.

        A statement that was begun after a newer owner's claim had been answered, and that Redis accepted
        under the older token; facts that were written under an older token than facts before them; a job
        that succeeded twice.
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
        """A batch counts as trained again when the job had been as far before, whoever had taken it there."""
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
        """From a fault until Redis has heard of more images than had been trained before it, or of the end.

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
    """Acts that were begun when one of the kind `proof` had ended under a newer token, with that token."""
    for act in done:
        if act.kind == done_late:
            newer = [one.token for one in done if one.kind == proof and one.ended < act.began]
            if newer and max(newer) > act.token:
                yield act, max(newer)
