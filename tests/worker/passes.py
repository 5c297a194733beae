"""Calls into the middle of rendering."""

from collections.abc import Callable, Sequence

from contract.wire import Ask
from models.sampler import Sampler
from worker import rendering
from worker.rendering import Images

SHEET = 256
PASSES = 4
"""Of such a sheet."""


class Passes:
    """Calls back in the middle of rendering: after a pass of an ask, and before the pause that may follow."""

    def __init__(self) -> None:
        self.calls: dict[tuple[str, int], Callable[[], object]] = {}
        self.done: list[tuple[str, int]] = []

    @property
    def order(self) -> list[str]:
        """The ids of the first asks of the portions of all passes."""
        return [ask_id for ask_id, _ in self.done]

    def after(self, ask: Ask, number: int, call: Callable[[], object]) -> None:
        self.calls[ask.id, number] = call

    def of(self, ask: Ask) -> int:
        return self.order.count(ask.id)

    def render(self, sampler: Sampler, portion: Sequence[Ask], after_pass: Callable[[], None]) -> Images:
        def count() -> None:
            at = portion[0].id, self.of(portion[0]) + 1
            self.done.append(at)
            self.calls.pop(at, lambda: None)()
            after_pass()

        return rendering.render(sampler, portion, count)
