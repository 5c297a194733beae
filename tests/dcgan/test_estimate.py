"""Estimates of what a job would take, from Python and from the command line."""

import json

from click.testing import CliRunner

from dcgan import Client
from dcgan.cli import main
from tests.dcgan.conftest import Service

SPEC = {"images": 120_000, "resolution": 32, "batch_size": 32}
ESTIMATE: dict[str, object] = {
    "memory": {"needed_bytes": 150 * 2**20, "available_bytes": 2**31, "fits": True, "batch_size": None},
    "time": {"seconds": 3753.2, "basis": "measured", "detail": "Timed just now: [11 steps]."},
    "evaluations": {"count": 15, "every_images": 8192},
    "trainer": {"name": "train-1", "device": "cpu", "device_model": "EPYC", "of_tomorrow": 1},
    "error": None,
}


def answer(service: Service, stalled_reason: str | None = None, **changes: object) -> None:
    told = {"spec": SPEC, "estimate": ESTIMATE | changes, "stalled_reason": stalled_reason}
    service.answers["POST /jobs"] = (200, "application/json", json.dumps(told).encode())


def test_estimate_sends_the_request_of_a_job_as_a_dry_run(service: Service) -> None:
    answer(service)
    with Client(service.url) as client:
        told = client.estimate(dataset="ds_1", seed=3)
    assert (told.estimate.time.seconds, told.spec["images"]) == (3753.2, 120_000)
    assert service.asked == ["POST /jobs?dry_run=true"]
    assert json.loads(service.bodies[0]) == {"dataset": "ds_1", "seed": 3}
    assert service.idempotency_keys == [None]


def test_dry_run_is_printed_and_sends_no_other_request(service: Service) -> None:
    answer(service)
    done = CliRunner().invoke(main, ["--url", service.url, "train", "ds_1", "--dry-run"])
    assert done.exit_code == 0, done.output
    assert "120,000 images at 32 px, batches of 32\n" in done.output
    assert "evaluations: 15\n" in done.output
    assert "150 MiB of 2,048 MiB" in done.output
    assert "about 1:02:33 (measured)" in done.output
    assert "Timed just now: [11 steps]." in done.output
    assert service.asked == ["POST /jobs?dry_run=true"]


def test_job_that_would_not_start_is_reported_with_a_remedy(service: Service) -> None:
    memory = {"needed_bytes": 2**32, "available_bytes": 2**31, "fits": False, "batch_size": 16}
    error = {"code": "insufficient_memory", "detail": "Set batch_size to 16: that takes about 1.4 GiB."}
    unknown = {"seconds": None, "basis": "unknown", "detail": "It would not begin."}
    answer(service, memory=memory, error=error, time=unknown)
    done = CliRunner().invoke(main, ["--url", service.url, "train", "ds_1", "--dry-run"])
    assert done.exit_code == 1
    assert "4,096 MiB of 2,048 MiB" in done.output
    assert "time     unknown\n" in done.output
    assert "Set batch_size to 16" in done.output


def test_unknown_available_memory_is_reported(service: Service) -> None:
    answer(service, memory={"needed_bytes": 2**30, "available_bytes": None, "fits": None})
    done = CliRunner().invoke(main, ["--url", service.url, "train", "ds_1", "--dry-run"])
    assert "1,024 MiB; what there is cannot be told" in done.output


def test_reason_is_reported_for_a_job_that_would_only_wait(service: Service) -> None:
    answer(service, stalled_reason="It asks for 3 [devices].")
    done = CliRunner().invoke(main, ["--url", service.url, "train", "ds_1", "--dry-run"])
    assert done.exit_code == 0, done.output
    assert "It would only wait. It asks for 3 [devices].\n" in done.output
