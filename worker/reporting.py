"""Reports a run to its supervisor: where it computes, how far it is, and how it was judged."""

import math

from contract.evaluation import Evaluation
from contract.job import Progress
from models import guards
from models.diagnosis import Cause
from models.environment import NumericEnvironment
from models.guards import Continue, Decision
from models.state import TrainingState
from models.workload import Workload
from worker import link
from worker.child import Chore
from worker.forecast import Forecast
from worker.meter import Meter
from worker.orders import TrainingOrder


def computing(environment: NumericEnvironment, before: NumericEnvironment | None) -> link.Computing:
    """The environment of the run from here on, and how it differs from that of what is kept, if anything."""
    changed = None
    if before and not environment.agrees_with(before):
        changed = (
            f"the run was computed on {before.fingerprint} and now continues on "
            f"{environment.fingerprint}: from here its result may "
            "differ in the last bits from an uninterrupted run"
        )
    return link.Computing(environment=environment.model_dump(mode="json"), changed=changed)


class Reporter:
    """Reports the steps of one run. Measures its pace from the moment it is created."""

    def __init__(
        self,
        order: TrainingOrder,
        chore: Chore,
        state: TrainingState,
        workload: Workload,
        *,
        judged_every: int,
    ) -> None:
        self._order = order
        self._chore = chore
        self._state = state
        self._meter = Meter(state.images_seen)
        self.forecast = Forecast(
            state.images_seen,
            workload.images,
            batch_size=order.spec.batch_size,
            every_images=judged_every,
            multiply_adds=workload.training,
            evaluation_multiply_adds=workload.evaluation,
        )
        self._images_per_second: float | None = None
        self.losses: dict[str, float] = {}
        """Those that were finite when they were last read."""
        self.read_losses()  # a restored state has some

    def read_losses(self) -> bool:
        """Read the losses, waiting for the device. True if all are finite."""
        losses = self._state.read_losses()
        self.losses = {name: loss for name, loss in losses.items() if math.isfinite(loss)}
        return len(self.losses) == len(losses)

    def tell_progress(self) -> None:
        """Measure the pace and report it with everything else."""
        self._images_per_second = self._meter.update(self._state.images_seen)
        self.forecast.update(self._state.images_seen)
        self.show_life()

    def show_life(self) -> None:
        """Report what is known, without measuring."""
        progress = Progress(
            done=self._state.images_seen,
            total=self._order.spec.total_images,
            images_per_second=self._images_per_second,
            seconds_left=self.forecast.seconds_left,
            losses=self.losses,
        )
        self._chore.tell(link.Advanced(progress=progress))

    def tell_judgement(self, evaluation: Evaluation | None, decision: Decision) -> None:
        """Report a judgement, unless a killed child already has."""
        images_seen = self._state.images_seen
        if images_seen > self._order.judged_images_seen:
            warning = self._warning(decision)
            self._chore.tell(link.Judged(images_seen=images_seen, evaluation=evaluation, warning=warning))

    def _warning(self, decision: Decision) -> link.Warned | None:
        if not isinstance(decision, Continue):
            return link.Warned(code=decision.cause, detail=decision.detail)
        if self._state.is_over:
            regret = guards.regret(decision.watch)
            return link.Warned(code=Cause.MODE_COLLAPSE, detail=regret) if regret else None
        if suspicion := decision.suspicion:
            return link.Warned(code=f"{suspicion.cause}_suspected", detail=suspicion.detail)
        return None
