"""The work of a trainer's child: iterates the training, decides when to judge, save, show and report.

Evaluations, checkpoints and previews are due at counts of images, because they belong to the record.
Snapshots are due by the clock: they only limit what a crash costs, and no result depends on them.
"""

import time
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial

import torch

from contract.evaluation import Evaluation
from contract.job import Failure
from models import guards, trainer
from models.course import Course
from models.guards import Continue, GiveUp, RollBack
from models.signs import Signs
from worker import link
from worker.child import Chore
from worker.following import follow
from worker.opening import open_run
from worker.orders import TrainingOrder
from worker.reporting import Reporter

REPORT_SECONDS = 0.5
CHECKS = 10
"""How often a run is checked for numbers that are not finite, which costs less than an evaluation."""


def train_job(order_json: str, chore: Chore) -> None:
    """Train to the end or until asked to stop, resuming from the newest intact snapshot."""
    order = TrainingOrder.model_validate_json(order_json)
    try:
        if chore.place.rank > 0:
            follow(order, chore)
        else:
            _Run(order, chore).carry_out()
    except torch.OutOfMemoryError as error:
        raise MemoryError(str(error)) from error
    except GivenUpError as error:
        chore.tell(link.Failed(problem=Failure(code=error.decision.cause, detail=error.decision.detail)))


class GivenUpError(Exception):
    """The run went wrong, and no countermeasure has helped."""

    def __init__(self, decision: GiveUp | RollBack) -> None:
        super().__init__(decision.detail)
        self.decision = decision


@dataclass(frozen=True)
class _Judgement:
    """What came of looking after a state."""

    evaluation: Evaluation | None = None
    is_best: bool = False


_UNJUDGED = _Judgement()


class _Run:
    """One child's part of a job, from where the last one stopped."""

    def __init__(self, order: TrainingOrder, chore: Chore) -> None:
        self._order = order
        self._chore = chore
        self._spec = order.spec
        opened = open_run(order, chore, lambda: self._reporter.show_life())
        self._files = opened.files
        self._state = opened.state
        self._batches = opened.batches
        self._judge = opened.judge
        self._ranks = opened.ranks
        self._checked_every = max(1, self._spec.total_images // CHECKS)
        self._judged_every = self._kept_interval(opened.workload.every_images or self._checked_every)
        self._reporter = Reporter(
            order, chore, opened.state, opened.workload, judged_every=self._judged_every
        )
        self._went_back_at: int | None = None  # then these are weights of an earlier count of images

    def _kept_interval(self, counted: int) -> int:
        """Images between two evaluations as counted when the run began, perhaps by another version."""
        resumed_from = self._order.snapshot
        return (resumed_from and resumed_from.judged_every) or counted

    def carry_out(self) -> None:
        told_at = saved_at = time.monotonic()
        before = self._state.images_seen
        self._lead()
        for progress in trainer.train(self._state, self._batches, self._ranks):
            self._do_what_is_due(before, progress.images_seen)
            before = progress.images_seen
            now, is_stopping = time.monotonic(), self._chore.stop_requested
            if now - told_at >= REPORT_SECONDS or self._state.is_over or is_stopping:
                self._reporter.read_losses()
                self._reporter.tell_progress()
                told_at = now
            if is_stopping:
                self._save()
                self._chore.tell(link.Stopped())
                return
            if now - saved_at >= self._order.snapshot_seconds:
                self._save()
                saved_at = time.monotonic()
        self._reporter.show_life()  # with nothing measured, if no step was left
        best = self._state.watch.best_images_seen
        result = {"images_seen": self._state.images_seen, "best_images_seen": best}
        self._chore.tell(link.Finished(result=result))

    def _do_what_is_due(self, before: int, after: int) -> None:
        """Show, judge, publish and save whatever is due between two counts of images."""
        is_due, forecast = partial(_crosses, before, after), self._reporter.forecast
        is_judged = is_due(self._judged_every) or self._state.is_over
        is_checked = is_due(self._checked_every)
        if is_judged and self._judge is not None:
            with forecast.interrupted():
                self._judge.prepare()
        with forecast.evaluating(after) if is_judged else nullcontext():
            if is_due(self._spec.preview_every_images) and self._is_sound():
                self._files.show(self._state)  # first, because a judgement may replace the weights
            has_failed = is_checked and not is_judged and not self._is_sound()
            judgement = self._look_after() if is_judged or has_failed else _UNJUDGED
            if judgement.is_best or is_due(self._spec.checkpoint_every_images) or self._state.is_over:
                self._publish(judgement.evaluation)
            if judgement.is_best:
                self._files.save(self._state, self._judged_every)  # last, so that a resume lacks nothing
        if (is_judged or is_checked) and not self._state.is_over:
            self._lead()

    def _look_after(self) -> _Judgement:
        """Judge the state, report the figures and act on them."""
        evaluation = self._evaluated()
        is_unjudged = self._judge is None and self._is_sound()
        signs = Signs(is_finite=True) if is_unjudged else Signs.of(evaluation)
        watch = self._state.watch
        course = Course.of(self._spec, self._state.images_seen, watch, self._judged_every)
        decision = guards.decide(watch, signs, course)
        self._reporter.tell_judgement(evaluation, decision)
        if isinstance(decision, Continue):
            self._state.watch = decision.watch
            return _Judgement(evaluation, decision.is_best)
        if isinstance(decision, RollBack) and not self._state.is_over:
            self._go_back(decision)
        elif not (self._state.is_over and watch.has_something_to_serve):  # else an earlier best is served
            raise GivenUpError(decision)
        return _UNJUDGED  # a rejected state is not published with figures

    def _go_back(self, decision: RollBack) -> None:
        self._state.watch = decision.watch
        self._went_back_at = self._state.images_seen
        self._files.go_back(self._state, decision.goal_images_seen, self._reporter.show_life)

    def _evaluated(self) -> Evaluation | None:
        if self._judge is None or not self._is_sound():
            return None
        return self._judge.evaluate(self._state, self._reporter.losses)

    def _is_sound(self) -> bool:
        """Whether all losses and weights are finite. Waits for the device."""
        return self._reporter.read_losses() and self._state.is_finite()

    def _publish(self, evaluation: Evaluation | None) -> None:
        """Publish a checkpoint of the state, unless its weights are of an earlier one or unusable."""
        if self._state.images_seen != self._went_back_at and self._is_sound():
            self._files.publish(self._state, evaluation)

    def _save(self) -> None:
        """Save the state unless it is unusable: resuming from an earlier one comes to the same end."""
        if self._is_sound():
            self._files.save(self._state, self._judged_every)

    def _lead(self) -> None:
        """Let the other ranks continue from this state until it is checked or judged again."""
        seen, periods = self._state.images_seen, (self._checked_every, self._judged_every)
        self._ranks.lead(self._state, min((seen // every + 1) * every for every in periods))


def _crosses(before: int, after: int, every: int) -> bool:
    """Whether a multiple of `every` lies in (before, after]."""
    return before // every != after // every
