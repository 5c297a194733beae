"""A sampler counts as one only if its forward pass has worked recently."""

import pytest

from tests.worker.clock import Clock
from worker.liveness import DEAD_SECONDS, PROBE_EVERY_SECONDS, STALE_SECONDS, Liveness


def test_sampler_is_not_trusted_before_its_first_forward_pass() -> None:
    liveness = Liveness(Clock())
    assert liveness.wants_probe
    assert liveness.trouble is not None
    liveness.record_probe(None)
    assert not liveness.wants_probe
    assert liveness.trouble is None


@pytest.mark.parametrize("is_busy", [False, True])
def test_sampler_is_probed_long_before_its_last_pass_is_stale_even_under_load(is_busy: bool) -> None:
    clock = Clock()
    liveness = Liveness(clock)
    liveness.record_probe(None)
    clock.now += PROBE_EVERY_SECONDS + 1
    if is_busy:
        liveness.record_pass()
    assert liveness.wants_probe
    assert liveness.trouble is None
    assert 2 * PROBE_EVERY_SECONDS < STALE_SECONDS


def test_long_rendering_is_no_trouble_while_its_passes_end() -> None:
    clock = Clock()
    liveness = Liveness(clock)
    liveness.record_probe(None)
    for _ in range(10):
        clock.now += STALE_SECONDS - 1
        liveness.record_pass()
        assert liveness.trouble is None


def test_hung_forward_pass_is_trouble_and_finally_fatal() -> None:
    clock = Clock()
    liveness = Liveness(clock)
    liveness.record_probe(None)
    clock.now += STALE_SECONDS + 1
    assert "31 s ago" in str(liveness.trouble)
    assert not liveness.is_dead
    clock.now += DEAD_SECONDS
    assert liveness.is_dead


def test_failed_probe_is_trouble_until_one_succeeds_whatever_else_is_rendered() -> None:
    clock = Clock()
    liveness = Liveness(clock)
    liveness.record_probe(None)
    liveness.record_probe("its forward pass fails: out of luck")
    liveness.record_pass()
    assert liveness.wants_probe
    assert not liveness.is_sound
    assert liveness.trouble == "its forward pass fails: out of luck"
    clock.now += DEAD_SECONDS + 1
    assert liveness.is_dead
    liveness.record_probe(None)
    assert not liveness.is_dead
    assert liveness.is_sound
    assert liveness.trouble is None
