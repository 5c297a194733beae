"""The work of a trainer's child: iterates the training, decides when to judge, save, show and report.

Evaluations, checkpoints and previews are due at counts of images, because they belong to the record.
Snapshots are due by the clock: they only limit what a crash costs, and no result depends on them.
"""

import math
import time

import torch

from contract.dataset import Manifest
from contract.evaluation import Evaluation
from contract.job import Failure, Progress
from contract.volume import Volume
from models import guards, trainer
from models.allocator import keep_freed_memory
from models.batches import Batches
from models.cost import Cost
from models.datasets.arrays import array, held_out_indices, training_indices
from models.diagnosis import Cause, Course, Signs
from models.environment import NumericEnvironment
from models.evaluation import Judge
from models.features import Features, embedded, inception
from models.guards import Continue, GiveUp, RollBack, Verdict
from models.memory import require_memory
from models.panel import Panel, interval, operations
from worker import link
from worker.child import Chore
from worker.following import follow, join, settle
from worker.forecast import Forecast
from worker.memory import available_bytes
from worker.meter import Meter
from worker.orders import TrainingOrder
from worker.room import room_of
from worker.run_files import RunFiles

REPORT_SECONDS = 0.5
CHECKS = 10
"""How often a run is checked for numbers that are not finite, which costs less than an evaluation."""


def train_job(order_json: str, chore: Chore) -> None:
    """Train to the end or until asked to stop, resuming from the newest intact snapshot."""
    order = TrainingOrder.model_validate_json(order_json)
    try:
        if chore.place.rank > 0:
            follow(order, chore.place)
        else:
            _Run(order, chore).carry_out()
    except torch.OutOfMemoryError as error:
        raise MemoryError(str(error)) from error
    except GivenUpError as error:
        chore.tell(link.Failed(problem=Failure(code=error.verdict.cause, detail=error.verdict.detail)))


class GivenUpError(Exception):
    """The run went wrong, and no countermeasure has helped."""

    def __init__(self, verdict: GiveUp | RollBack) -> None:
        super().__init__(verdict.detail)
        self.verdict = verdict


class _Run:
    """One child's part of a job, from where the last one stopped."""

    def __init__(self, order: TrainingOrder, chore: Chore) -> None:
        self._order = order
        self._chore = chore
        self._spec = order.spec
        self._room = room_of(chore)
        self._files = RunFiles(order, chore, self._room)
        self._losses: dict[str, float] = {}
        self._evaluation: Evaluation | None = None
        self._went_back_at: int | None = None  # then these are weights of an earlier count of images
        self._images_per_second: float | None = None
        self._forecast: Forecast | None = None
        environment = settle(order, chore.place)
        self._tell_environment(environment)
        manifest = Manifest.model_validate_json(
            Volume(order.data_root).manifest(self._spec.dataset).read_bytes()
        )
        if order.snapshot is None:  # not on resume: it takes a second
            self._require_memory(environment, manifest)
        self._state = self._files.restored(environment, self._draw_on)
        self._open_dataset(environment, manifest)
        keep_freed_memory()  # not before: memory used for decoding would be kept for the whole run
        self._ranks = join(environment, chore.place)

    def carry_out(self) -> None:
        meter = Meter(self._state.images_seen)
        forecast = Forecast(
            self._state.images_seen,
            self._spec.total_images,
            batch_size=self._spec.batch_size,
            every_images=self._judged_every,
            multiply_adds=Cost.of(self._spec).training,
            evaluation_multiply_adds=self._evaluation_multiply_adds,
        )
        self._forecast = forecast
        told_at = saved_at = time.monotonic()
        before = self._state.images_seen
        self._lead(before)
        for progress in trainer.train(self._state, self._batches, self._ranks):
            self._pass(before, progress.images_seen, forecast)
            before = progress.images_seen
            now = time.monotonic()
            if now - told_at >= REPORT_SECONDS or self._state.is_over:
                self._read_losses()
                self._tell_progress(meter, forecast)
                told_at = now
            if self._chore.stop_requested:
                self._save()
                self._chore.tell(link.Stopped())
                return
            if now - saved_at >= self._order.snapshot_seconds:
                self._save()
                saved_at = time.monotonic()
        self._tell_progress(meter, forecast)
        best = self._state.watch.best_images_seen
        result = {"images_seen": self._state.images_seen, "best_images_seen": best}
        self._chore.tell(link.Finished(result=result))

    def _pass(self, before: int, after: int, forecast: Forecast) -> None:
        """Do what is due between two counts of images."""
        is_checked = _passes(self._checked_every, before, after)
        is_judged = _passes(self._judged_every, before, after) or self._state.is_over
        if is_judged:
            if self._judge is not None:
                with forecast.interrupted():
                    self._judge.prepare()
            with forecast.evaluating(after):
                self._do_what_is_due(before, after, is_judged=True)
        else:
            has_failed = is_checked and not self._is_sound()
            self._do_what_is_due(before, after, is_judged=has_failed)
        if (is_judged or is_checked) and not self._state.is_over:
            self._lead(after)

    def _do_what_is_due(self, before: int, after: int, *, is_judged: bool) -> None:
        """Save the snapshot last, so that a resume lacks nothing."""
        is_best = is_judged and self._look_after()
        is_due = _passes(self._spec.checkpoint_every_images, before, after) or self._state.is_over
        if (is_best or is_due) and after != self._went_back_at and self._is_sound():
            self._files.publish(self._state, self._current_evaluation())
        if _passes(self._spec.preview_every_images, before, after) and self._is_sound():
            self._files.show(self._state)
        if is_best:
            self._files.save(self._state)

    def _lead(self, images_seen: int) -> None:
        """Let the other ranks continue from this state until it is checked or judged again."""
        periods = (self._checked_every, self._judged_every)
        self._ranks.lead(self._state, min((images_seen // every + 1) * every for every in periods))

    def _look_after(self) -> bool:
        """Judge the state, report the figures and act on them. True if it is the best so far."""
        self._evaluation = self._evaluated()
        is_unjudged = self._judge is None and self._is_sound()
        signs = Signs(is_finite=True) if is_unjudged else Signs.of(self._evaluation)
        watch = self._state.watch
        course = Course.of(self._spec, self._state.images_seen, watch, self._judged_every)
        verdict = guards.judge(watch, signs, course)
        self._tell_judgement(verdict)
        match verdict:
            case Continue(watch, is_best):
                self._state.watch = watch
                return is_best
            case RollBack() if not self._state.is_over:
                self._state.watch = verdict.watch
                self._went_back_at = self._state.images_seen
                self._files.go_back(self._state, verdict.goal_images_seen, self._tell_life)
            case GiveUp() | RollBack() if not self._state.is_over or not watch.has_something_to_serve:
                raise GivenUpError(verdict)
        self._evaluation = None  # so that a rejected state is not published with figures
        return False

    def _evaluated(self) -> Evaluation | None:
        if self._judge is None or not self._is_sound():
            return None
        return self._judge.evaluate(self._state, self._losses)

    def _is_sound(self) -> bool:
        """Whether all losses and weights are finite. Waits for the device."""
        return self._read_losses() and self._state.is_finite()

    def _current_evaluation(self) -> Evaluation | None:
        """The evaluation of the current state, if it has been judged."""
        judged = self._evaluation
        return judged if judged and judged.images_seen == self._state.images_seen else None

    def _save(self) -> None:
        """Save the state unless it is unusable: resuming from an earlier one comes to the same end."""
        if self._is_sound():
            self._files.save(self._state)

    def _read_losses(self) -> bool:
        """Read the losses, waiting for the device. True if all are finite."""
        losses = self._state.read_losses()
        self._losses = {name: loss for name, loss in losses.items() if math.isfinite(loss)}
        return len(self._losses) == len(losses)

    def _require_memory(self, environment: NumericEnvironment, manifest: Manifest) -> None:
        spec = self._spec
        pictures_bytes = manifest.images * spec.channels * spec.resolution**2
        require_memory(
            spec,
            environment,
            available_bytes(environment.device),
            besides_bytes=pictures_bytes if environment.device == "cuda" else 0,  # else they are mapped
        )

    def _open_dataset(self, environment: NumericEnvironment, manifest: Manifest) -> None:
        spec, volume = self._spec, Volume(self._order.data_root)
        pictures = array(
            volume,
            manifest,
            spec.resolution,
            spec.channels,
            spec.fit,
            self._show_life,
            self._room.insist,
        )
        training = training_indices(manifest)
        self._batches = Batches.of(spec, pictures, training, environment.device)
        self._judge: Judge | None = None
        self._judged_every = self._checked_every = max(1, spec.total_images // CHECKS)
        self._evaluation_multiply_adds = 0
        panel = Panel.of(training, held_out_indices(manifest), spec.seed)
        if panel is not None:
            features = self._features(volume, environment)
            self._judge = Judge(spec, pictures, panel, features, self._tell_life)
            multiply_adds = features.multiply_adds(spec.resolution)
            self._judged_every = interval(spec, panel, multiply_adds)
            self._evaluation_multiply_adds = operations(Cost.of(spec), panel, multiply_adds)

    def _features(self, volume: Volume, environment: NumericEnvironment) -> Features:
        if self._spec.evaluation.features == "inception":
            return inception.load(volume.inception, environment.device)
        return embedded.load(environment.device)

    def _show_life(self, done: int, total: int) -> None:
        del done, total
        self._chore.heed_stop()
        self._tell_life()

    def _draw_on(self) -> None:
        """Send a sign of life while there is no state yet."""
        self._chore.heed_stop()
        self._chore.tell(link.Advanced(progress=Progress(done=0, total=self._spec.total_images)))

    def _tell_life(self) -> None:
        self._chore.tell(link.Advanced(progress=self._progress()))

    def _tell_judgement(self, verdict: Verdict) -> None:
        """Report a judgement, unless a killed child already has."""
        if self._state.images_seen <= self._order.judged_images_seen:
            return
        self._chore.tell(
            link.Judged(
                images_seen=self._state.images_seen,
                evaluation=self._evaluation,
                warning=self._warning(verdict),
            )
        )

    def _warning(self, verdict: Verdict) -> link.Warned | None:
        if not isinstance(verdict, Continue):
            return link.Warned(code=verdict.cause, detail=verdict.detail)
        if self._state.is_over:
            regret = guards.regret(verdict.watch)
            return link.Warned(code=Cause.MODE_COLLAPSE, detail=regret) if regret else None
        if suspicion := verdict.suspicion:
            return link.Warned(code=f"{suspicion.cause}_suspected", detail=suspicion.detail)
        return None

    def _tell_environment(self, environment: NumericEnvironment) -> None:
        first = self._order.environment
        changed = None
        if first is not None:
            recorded = NumericEnvironment.model_validate(first)
            if not environment.agrees_with(recorded):
                changed = (
                    f"the run began on {recorded.fingerprint} and now continues on "
                    f"{environment.fingerprint}: from here its result may "
                    "differ in the last bits from an uninterrupted run"
                )
            environment = recorded
        self._chore.tell(link.Computing(environment=environment.model_dump(mode="json"), changed=changed))

    def _tell_progress(self, meter: Meter, forecast: Forecast) -> None:
        self._images_per_second = meter.update(self._state.images_seen)
        forecast.update(self._state.images_seen)
        self._tell_life()

    def _progress(self) -> Progress:
        return Progress(
            done=self._state.images_seen,
            total=self._spec.total_images,
            images_per_second=self._images_per_second,
            seconds_left=self._forecast.seconds_left if self._forecast else None,
            losses=self._losses,
        )


def _passes(every: int, before: int, after: int) -> bool:
    """Whether a multiple of `every` lies in (before, after]."""
    return before // every != after // every
