"""The predicted end of runs that evaluations interrupt, on simulated machines."""

from collections.abc import Iterator

import pytest

from worker.forecast import SLOWEST, Forecast

EVALUATION_IMAGES = 337.0
MULTIPLY_ADDS = 1e9


class Machine:
    """Steps of 64 images at a steady pace; every `every` images, and at the end, an evaluation."""

    def __init__(
        self,
        images_per_second: float,
        total: int,
        every: int,
        evaluations: list[float],
        *,
        preparation: float = 0.0,
    ) -> None:
        self.now = 0.0
        self._step_seconds = 64 / images_per_second
        self._total, self._every = total, every
        self._evaluations = evaluations  # seconds of each; the last value repeats
        self._preparation = preparation  # seconds before the first
        self.forecast = Forecast(
            0,
            total,
            batch_size=64,
            every_images=every,
            multiply_adds=MULTIPLY_ADDS,
            evaluation_multiply_adds=EVALUATION_IMAGES * MULTIPLY_ADDS,
            clock=lambda: self.now,
        )

    def course(self) -> Iterator[tuple[float, float | None]]:
        """The time and the predicted seconds left, after each step."""
        done = 0
        for images in range(64, self._total + 64, 64):
            self.now += self._step_seconds
            if images // self._every != (images - 64) // self._every or images >= self._total:
                if not done:
                    with self.forecast.interrupted():
                        self.now += self._preparation
                with self.forecast.evaluating(images):
                    self.now += self._evaluations[min(done, len(self._evaluations) - 1)]
                done += 1
            self.forecast.update(images)
            yield self.now, self.forecast.seconds_left

    def misses(self, after: float) -> list[float]:
        """The errors of the predictions from then on, in seconds."""
        told = list(self.course())
        return [abs(now + left - self.now) for now, left in told if left is not None and now >= after]


@pytest.mark.parametrize("seconds", [0.0, 0.5, 5.0, 20.0])
def test_prediction_at_a_steady_pace_is_exact_once_an_evaluation_is_over(seconds: float) -> None:
    machine = Machine(100, 64_000, 6_400, [seconds])
    assert max(machine.misses(after=64 + seconds)) == pytest.approx(0, abs=1e-6)


def test_evaluations_are_assumed_to_take_as_long_as_counted_until_one_is_over() -> None:
    machine = Machine(100, 64_000, 6_400, [EVALUATION_IMAGES / 100])
    assert max(machine.misses(after=0)) == pytest.approx(0, abs=1e-6)


def test_evaluation_is_not_assumed_to_be_as_slow_as_the_first_steps() -> None:
    machine = Machine(0.1, 256, 128, [1])
    _, left = next(machine.course())
    each = EVALUATION_IMAGES * MULTIPLY_ADDS / SLOWEST
    assert left == pytest.approx(192 / 0.1 + 2 * each)


def test_prediction_is_renewed_by_an_evaluation() -> None:
    machine = Machine(100, 6_400, 640, [100])
    steps = machine.course()
    for _ in range(9):
        next(steps)
    with machine.forecast.evaluating(640):
        machine.now += 1
    left = machine.forecast.seconds_left
    assert left == pytest.approx((6_400 - 640) / 100 + 9 * 1)


def test_what_precedes_the_first_evaluation_is_not_expected_again() -> None:
    machine = Machine(100, 64_000, 6_400, [3], preparation=30)
    assert max(machine.misses(after=64 + 33)) == pytest.approx(0, abs=1e-6)


def test_last_evaluation_is_counted_wherever_the_run_ends() -> None:
    for total in (6_400, 6_464, 12_736, 12_800):
        machine = Machine(100, total, 6_400, [EVALUATION_IMAGES / 100])
        assert max(machine.misses(after=0)) == pytest.approx(0, abs=1e-6)
        assert machine.forecast.seconds_left == 0


@pytest.mark.parametrize(("total", "every"), [(6_464, 646), (6_400, 10), (6_400, 64), (6_400, 65)])
def test_at_most_one_evaluation_per_batch_is_counted(total: int, every: int) -> None:
    machine = Machine(100, total, every, [3])
    assert max(machine.misses(after=20)) == pytest.approx(0, abs=1e-6)


def test_evaluation_that_had_to_wait_is_ignored_as_an_outlier() -> None:
    machine = Machine(100, 64_000, 6_400, [3, 3, 3600, 3])
    after_the_wait = 3 * 64 + 3606
    assert max(machine.misses(after=after_the_wait)) == pytest.approx(0, abs=1e-6)


def test_seconds_left_decrease_between_readings_but_not_below_zero() -> None:
    machine = Machine(100, 6_400, 6_400, [3])
    _, left = next(machine.course())
    assert left is not None
    machine.now += 10
    assert machine.forecast.seconds_left == pytest.approx(left - 10)
    machine.now += 1000
    assert machine.forecast.seconds_left == 0


def test_nothing_is_predicted_before_the_first_images() -> None:
    forecast = Forecast(
        0,
        640,
        batch_size=64,
        every_images=64,
        multiply_adds=MULTIPLY_ADDS,
        evaluation_multiply_adds=EVALUATION_IMAGES * MULTIPLY_ADDS,
        clock=lambda: 5.0,
    )
    assert forecast.seconds_left is None
    forecast.update(0)
    assert forecast.seconds_left is None
