"""A Redis that is away for a night does not fill the disk with warnings."""

import logging
import threading

import pytest

from contract.rare_warning import EVERY_SECONDS, RareWarning
from contract.wire import Ask
from tests.worker.conftest import DATABASE
from worker.engine import Engine
from worker.sampling import SampleConsumer

NOWHERE = f"redis://127.0.0.1:1/{DATABASE}"


def test_recurring_warning_is_logged_once_in_a_while(caplog: pytest.LogCaptureFixture) -> None:
    now = 1000.0
    warning = RareWarning(logging.getLogger("worker"), lambda: now)
    for _ in range(300):
        warning.log("away: %s", now)
        now += EVERY_SECONDS / 100
    assert len(caplog.messages) == 3
    assert caplog.messages[0] == "away: 1000.0"


def test_consumer_without_redis_warns_once(
    engine: Engine, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("worker.sampling.BREATH_SECONDS", 0.01)
    tried = threading.Semaphore(0)
    consumer = SampleConsumer("sample-1", NOWHERE, engine, "ours", 64)
    honest = consumer._take

    def take() -> list[Ask]:
        tried.release()
        return honest()

    monkeypatch.setattr(consumer, "_take", take)
    consumer.adopt("ours")
    consumer.start()
    for _ in range(5):
        assert tried.acquire(timeout=60)
    consumer.stop()
    assert len([message for message in caplog.messages if "sampling Redis is away" in message]) == 1
