"""How asks are grouped: into portions, which are rendered together, and into brief ones and others."""

from collections.abc import Callable, Iterable, Sequence

from contract.sampling import FULL_BATCH, SampleSpec
from contract.wire import Ask
from worker.rendering import kinship

MOST_WEIGHT = 256
"""Limit of one portion, in samples of their own size; a heavier ask is a portion of its own."""
PAUSE_WEIGHT = FULL_BATCH
"""The most that is served at once in a pause."""


def portions(asks: Sequence[Ask]) -> list[list[Ask]]:
    """Group asks that are rendered together: of one generator, all single or all sheets, all brief or none.

    They are sorted by their heaviest asks, so that a single image never waits for a sheet of its batch.
    """
    cut: list[list[Ask]] = []
    weight = 0  # of the last portion
    for ask in sorted(asks, key=lambda ask: (kinship(ask.spec), ask.spec.weight)):
        weight += ask.spec.weight
        if cut and weight <= MOST_WEIGHT and _go_together(ask.spec, cut[-1][-1].spec):
            cut[-1].append(ask)
        else:
            cut.append([ask])
            weight = ask.spec.weight
    return sorted(cut, key=lambda portion: portion[-1].spec.weight)


def _go_together(one: SampleSpec, other: SampleSpec) -> bool:
    """A brief sheet among heavy ones would wait for these, and later brief ones would pass it."""
    return one.is_brief == other.is_brief and kinship(one) == kinship(other)


def is_heavy(portion: Sequence[Ask]) -> bool:
    """Whether it may pause. One of brief asks does not: those that arrive later are not to pass them."""
    return not all(ask.spec.is_brief for ask in portion)


def for_a_pause(asks: Iterable[Ask]) -> list[Ask]:
    """The first of these that are brief, as many as one pause serves."""
    chosen: list[Ask] = []
    room = PAUSE_WEIGHT
    for ask in (ask for ask in asks if ask.spec.is_brief):
        room -= ask.spec.weight
        if room < 0:
            break
        chosen.append(ask)
    return chosen


def split(asks: Iterable[Ask], claim: Callable[[Ask], bool]) -> tuple[list[Ask], list[Ask]]:
    """Those of which this is true, and the others."""
    true: list[Ask] = []
    false: list[Ask] = []
    for ask in asks:
        (true if claim(ask) else false).append(ask)
    return true, false
