"""A sampler counts as one only if its forward pass has worked recently."""

from worker.liveness import DEAD_SECONDS, PROBE_AFTER_SECONDS, STALE_SECONDS, Liveness


class Clock:
    """A clock that is set by hand."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_sampler_is_not_trusted_before_its_first_forward_pass() -> None:
    liveness = Liveness(Clock())
    assert liveness.wants_probe
    assert liveness.trouble is not None
    liveness.record_success()
    assert not liveness.wants_probe
    assert liveness.trouble is None


def test_idle_sampler_is_probed_long_before_its_last_pass_is_stale() -> None:
    clock = Clock()
    liveness = Liveness(clock)
    liveness.record_success()
    clock.now += PROBE_AFTER_SECONDS + 1
    assert liveness.wants_probe
    assert liveness.trouble is None
    assert 2 * PROBE_AFTER_SECONDS < STALE_SECONDS


def test_hung_forward_pass_is_trouble_and_finally_fatal() -> None:
    clock = Clock()
    liveness = Liveness(clock)
    liveness.record_success()
    clock.now += STALE_SECONDS + 1
    assert "31 s ago" in str(liveness.trouble)
    assert not liveness.is_dead
    clock.now += DEAD_SECONDS
    assert liveness.is_dead


def test_failed_probe_is_trouble_until_a_forward_pass_works() -> None:
    clock = Clock()
    liveness = Liveness(clock)
    liveness.record_success()
    liveness.record_failure("its forward pass fails: out of luck")
    assert liveness.wants_probe
    assert liveness.trouble == "its forward pass fails: out of luck"
    clock.now += DEAD_SECONDS + 1
    assert liveness.is_dead
    liveness.record_success()
    assert not liveness.is_dead
    assert liveness.trouble is None
