"""`Server-Timing` accounts for every millisecond of an answer."""

import re
import time

import httpx
import pytest

from contract.job import CheckpointFact
from contract.wire import Stages
from service.timing import NOTHING, server_timing, stages_after, stages_of
from tests.service.playing import Sampler


def timing(answer: httpx.Response) -> dict[str, float]:
    entries = re.findall(r"(\w+);dur=([0-9.]+)", answer.headers["server-timing"])
    return {name: float(took) for name, took in entries}


def test_rendered_picture_reports_the_duration_of_each_stage(
    client: httpx.Client, sampler: Sampler, finished: CheckpointFact
) -> None:
    took = timing(client.get("/samples?seed=7"))
    assert list(took) == ["queue", "batch", "forward", "encode", "gateway"]
    assert [took["batch"], took["forward"], took["encode"]] == [1.0, 2.0, 3.0]


def test_cached_picture_reports_only_the_gateway(
    client: httpx.Client, sampler: Sampler, finished: CheckpointFact
) -> None:
    client.get("/samples?seed=7")
    assert list(timing(client.get("/samples?seed=7"))) == ["gateway"]


def test_stages_add_up_to_the_wait() -> None:
    assert stages_of(0.5, Stages(1, 2, 3)) == {"queue": 494.0, "batch": 1, "forward": 2, "encode": 3}
    assert stages_of(0.001, Stages(1, 2, 3))["queue"] == 0.0


@pytest.mark.parametrize(
    ("missed", "left"), [(0, [4, 1, 2, 3]), (3, [1, 1, 2, 3]), (6, [0, 0, 1, 3]), (99, [0, 0, 0, 0])]
)
def test_request_that_joins_a_rendering_is_not_told_what_it_has_not_waited_for(
    missed: float, left: list[float]
) -> None:
    assert list(stages_after(stages_of(0.01, Stages(1, 2, 3)), missed).values()) == pytest.approx(left)


def test_gateway_is_the_time_outside_all_stages() -> None:
    since = time.monotonic() - 1
    assert float(server_timing(NOTHING, since).removeprefix("gateway;dur=")) >= 1000
    queue, gateway = server_timing({"queue": 400.0}, since).split(", ")
    assert queue == "queue;dur=400.00"
    assert float(gateway.removeprefix("gateway;dur=")) >= 600
    assert server_timing({"queue": 10.0**9}, since).endswith("gateway;dur=0.00")
