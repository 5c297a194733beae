"""The `Server-Timing` header (W3C): how long each stage of an answer took, in milliseconds."""

import time
from collections.abc import Mapping

from contract.wire import Stages

NOTHING: Mapping[str, float] = {}
"""The stages of an answer that needed no sampler."""


def stages_of(waited_seconds: float, stages: Stages) -> Mapping[str, float]:
    """The stages that a sampler reports, plus `queue`: the rest of the time spent waiting for it."""
    told = {"batch": stages.batch, "forward": stages.forward, "encode": stages.encode}
    return {"queue": max(0.0, 1000 * waited_seconds - sum(told.values())), **told}


def stages_after(stages: Mapping[str, float], missed_ms: float) -> Mapping[str, float]:
    """What is left of the stages, which follow each other, for a request that came this much later."""
    left = {}
    for name, took in stages.items():
        left[name] = max(0.0, took - missed_ms)
        missed_ms = max(0.0, missed_ms - took)
    return left


def server_timing(stages: Mapping[str, float], since: float) -> str:
    """Format the header of an answer that was begun at `since`, by the monotonic clock."""
    gateway = max(0.0, 1000 * (time.monotonic() - since) - sum(stages.values()))
    return ", ".join(f"{name};dur={took:.2f}" for name, took in {**stages, "gateway": gateway}.items())
