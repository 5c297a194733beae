"""A sampler counts as one only if its forward pass has worked recently."""

from worker.pulse import DEAD_SECONDS, PROBE_AFTER_SECONDS, STALE_SECONDS, Pulse


class Clock:
    """A clock that is set by hand."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_sampler_is_not_trusted_before_its_first_forward_pass() -> None:
    pulse = Pulse(Clock())
    assert pulse.wants_probe
    assert pulse.trouble is not None
    pulse.beat()
    assert not pulse.wants_probe
    assert pulse.trouble is None


def test_idle_sampler_is_probed_long_before_its_last_pass_is_stale() -> None:
    clock = Clock()
    pulse = Pulse(clock)
    pulse.beat()
    clock.now += PROBE_AFTER_SECONDS + 1
    assert pulse.wants_probe
    assert pulse.trouble is None
    assert 2 * PROBE_AFTER_SECONDS < STALE_SECONDS


def test_hung_forward_pass_is_trouble_and_finally_fatal() -> None:
    clock = Clock()
    pulse = Pulse(clock)
    pulse.beat()
    clock.now += STALE_SECONDS + 1
    assert "31 s ago" in str(pulse.trouble)
    assert not pulse.is_dead
    clock.now += DEAD_SECONDS
    assert pulse.is_dead


def test_failed_probe_is_trouble_until_a_forward_pass_works() -> None:
    clock = Clock()
    pulse = Pulse(clock)
    pulse.beat()
    pulse.miss("its forward pass fails: out of luck")
    assert pulse.wants_probe
    assert pulse.trouble == "its forward pass fails: out of luck"
    clock.now += DEAD_SECONDS + 1
    assert pulse.is_dead
    pulse.beat()
    assert not pulse.is_dead
    assert pulse.trouble is None
