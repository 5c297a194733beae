"""The `Server-Timing` header (W3C): where the time of an answer went, in milliseconds."""

import time
from collections.abc import Mapping

from contract.wire import Stages

NOTHING: Mapping[str, float] = {}
"""Of an answer that no sampler was asked for."""


def stages_of(waited_seconds: float, stages: Stages) -> Mapping[str, float]:
    """What a sampler says of its time, and as `queue` all the rest of the wait for it."""
    told = {"batch": stages.batch, "forward": stages.forward, "encode": stages.encode}
    return {"queue": max(0.0, 1000 * waited_seconds - sum(told.values())), **told}


def server_timing(stages: Mapping[str, float], since: float) -> str:
    """The header of an answer that was begun at `since` by the monotonic clock."""
    gateway = max(0.0, 1000 * (time.monotonic() - since) - sum(stages.values()))
    return ", ".join(f"{name};dur={took:.2f}" for name, took in {**stages, "gateway": gateway}.items())
