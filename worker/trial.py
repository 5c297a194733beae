"""Times a few real steps and one real evaluation of a job that is not queued yet, on pictures of noise."""

import time
from dataclasses import dataclass, replace

import numpy as np

from contract.training import TrainingSpec
from models import trainer
from models.allocator import keep_freed_memory
from models.batches import Batches
from models.environment import NumericEnvironment
from models.evaluation import Judge
from models.features import Features
from models.panel import Panel
from models.rules import Rules
from models.state import TrainingState

PICTURES = 64
WARM_UP_STEPS = 2
LEAST_SECONDS, MOST_SECONDS = 2.0, 4.0
STEPS_AHEAD = 32
"""Steps between waits for the GPU: as in a real run, the CPU prepares later steps meanwhile."""
OPERATIONS_PER_STEP = {"cpu": 2 * 10**10, "cuda": 2 * 10**13}
"""About a second's work. Only a part of a larger batch is timed: products of this size run as fast."""


@dataclass(frozen=True)
class Steps:
    """How long a number of steps took."""

    count: int
    batch_size: int
    seconds: float

    @property
    def images_per_second(self) -> float:
        return self.count * self.batch_size / self.seconds


class Trial:
    """A training state of its own, which is thrown away."""

    def __init__(self, spec: TrainingSpec, environment: NumericEnvironment, operations: int) -> None:
        """`spec` is a job on one device, or one device's part; `operations` are for training, per image."""
        environment.apply()
        keep_freed_memory()
        batch_size = spec.batch_size
        while batch_size >= 4 and batch_size * operations > OPERATIONS_PER_STEP[environment.device]:
            batch_size //= 2
        self._spec = spec.model_copy(update={"batch_size": batch_size, "images": 2**62})
        shape = (PICTURES, spec.channels, spec.resolution, spec.resolution)
        self._pictures = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
        self._state = TrainingState.fresh(self._spec, environment)

    def steps(self) -> Steps:
        """Time steps for a few seconds, in whole periods of what is done only every few steps."""
        device = self._state.environment.device
        batches = Batches.of(self._spec, self._pictures, np.arange(PICTURES), device)
        run = trainer.train(self._state, batches)
        for _ in range(WARM_UP_STEPS):
            next(run).read()
        period = Rules.of(self._spec).period_steps
        count, seconds, started = 0, 0.0, time.perf_counter()
        while seconds < LEAST_SECONDS or (count % period and seconds < MOST_SECONDS):
            progress, count = next(run), count + 1
            if count.bit_count() == 1 or count % STEPS_AHEAD == 0:  # 1, 2, 4, …: long steps must not queue
                progress.read()  # waits for the device
            seconds = time.perf_counter() - started
        progress.read()
        return Steps(count, self._spec.batch_size, time.perf_counter() - started)

    def evaluation(self, panel: Panel, features: Features) -> float:
        """Seconds of the first evaluation, which processes the real pictures, too."""
        places = replace(panel, reals=panel.reals % PICTURES, neighbours=panel.neighbours % PICTURES)
        judge = Judge(self._spec, self._pictures, places, features)
        started = time.perf_counter()
        judge.evaluate(self._state, {})
        return time.perf_counter() - started
