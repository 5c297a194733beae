"""The pace of simulated machines predicts the end of a run, interruptions included."""

from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from worker.meter import Meter

HOUR = 3600.0


@dataclass(frozen=True)
class Machine:
    """Steps of `batch` images at a steady pace, interrupted at regular counts of images."""

    images_per_second: float = 300.0
    batch: int = 64
    start_up_seconds: float = 0.0
    burst_seconds: float = 0.0
    burst_share: float = 0.05

    def course(self, seconds: float) -> Iterator[tuple[float, int]]:
        """The time and the images seen at each reading, twice a second or after every step."""
        interval = self._images_between_bursts()
        now, images, read_at = self.start_up_seconds, 0, 0.0
        while now < seconds:
            now += self.batch / self.images_per_second
            images += self.batch
            if interval and images // interval != (images - self.batch) // interval:
                now += self.burst_seconds
            if now - read_at >= 0.5:
                read_at = now
                yield now, images

    def _images_between_bursts(self) -> float:
        training_seconds = self.burst_seconds * (1 - self.burst_share) / self.burst_share
        return self.images_per_second * training_seconds


def worst_estimate(machine: Machine, until: float = HOUR) -> float:
    """The worst relative error of the predicted time left of a run, from its first minute to its middle."""
    readings = list(machine.course(until))
    end, total = readings[-1]
    now = 0.0
    meter = Meter(0, lambda: now)
    worst = 0.0
    for reading in readings:
        now, images = reading
        rate = meter.update(images)
        if 60 <= now <= until / 2:
            worst = max(worst, abs((total - images) / rate / (end - now) - 1))
    return worst


@pytest.mark.parametrize("burst_seconds", [0.5, 1.0, 2.0, 3.0, 5.0, 10.0, 20.0])
@pytest.mark.parametrize("start_up_seconds", [0.0, 5.0, 10.0])
def test_end_is_predicted_within_a_tenth_after_a_minute(
    burst_seconds: float, start_up_seconds: float
) -> None:
    machine = Machine(burst_seconds=burst_seconds, start_up_seconds=start_up_seconds)
    assert worst_estimate(machine) < 0.1


@pytest.mark.parametrize("images_per_second", [5.0, 40.0, 20_000.0])
def test_end_is_predicted_within_a_tenth_at_any_pace(images_per_second: float) -> None:
    machine = Machine(images_per_second=images_per_second, start_up_seconds=5, burst_seconds=3)
    assert worst_estimate(machine) < 0.1


def test_prediction_is_exact_without_interruptions() -> None:
    assert worst_estimate(Machine()) == pytest.approx(0, abs=1e-9)


def test_slowdown_is_followed_within_ten_minutes() -> None:
    now = 0.0
    meter = Meter(0, lambda: now)
    images = 0
    for second in range(4200):
        now = float(second)
        images += 100 if second < 3600 else 50
        rate = meter.update(images)
    assert rate == pytest.approx(50, rel=0.15)


def test_resumed_run_counts_only_its_own_images() -> None:
    now = 0.0
    meter = Meter(1_000_000, lambda: now)
    now = 10.0
    assert meter.update(1_000_500) == 50


def test_rate_is_zero_before_any_time_has_passed() -> None:
    assert Meter(0, lambda: 7.0).update(64) == 0
