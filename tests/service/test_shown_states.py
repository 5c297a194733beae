"""Refusals name the state that the client sees, and ask for nothing that it has done already."""

from typing import Any

import httpx
import pytest

from contract.command import Command
from contract.forgetting import forget_dataset
from contract.keys import RecordKind
from contract.owning import Lease
from service.store import Store
from tests.service.playing import Worker
from tests.service.problems import refused


@pytest.mark.parametrize(("action", "state"), [("pause", "pausing"), ("cancel", "cancelling")])
def test_refusal_names_the_state_that_the_job_shows(
    client: httpx.Client, running: Lease, action: str, state: str
) -> None:
    assert client.post(f"/jobs/{running.id}/{action}").json()["state"] == state
    for method, address, status, code in (
        ("DELETE", f"/jobs/{running.id}", 409, "job_state_conflict"),
        ("POST", f"/jobs/{running.id}/retry", 409, "job_state_conflict"),
        ("GET", f"/samples?seed=1&model={running.id}", 404, "no_model_yet"),
    ):
        problem = refused(client.request(method, address), status, code)
        assert f"{running.id} is {state}" in problem["detail"]


def test_job_that_is_cancelling_need_not_be_cancelled_before_it_is_deleted(
    client: httpx.Client, running: Lease
) -> None:
    address = f"/jobs/{running.id}"
    asked_first = refused(client.delete(address), 409, "job_state_conflict")
    assert f"POST {address}/cancel first" in asked_first["detail"]
    client.post(f"{address}/cancel").raise_for_status()
    asked_again = refused(client.delete(address), 409, "job_state_conflict")
    assert "wait until it is cancelled" in asked_again["detail"]
    assert "POST" not in asked_again["detail"]


def test_refusal_of_a_job_names_the_state_that_its_dataset_shows(
    client: httpx.Client, worker: Worker, pictures: bytes
) -> None:
    dataset = client.post("/datasets", content=pictures).json()["id"]
    worker.claim(RecordKind.DATASET)
    assert client.get(f"/datasets/{dataset}").json()["state"] == "preparing"
    problem = refused(client.post("/jobs", json={"dataset": dataset}), 409, "dataset_not_ready")
    assert f"{dataset} is preparing, not ready" in problem["detail"]


def test_dataset_that_is_deleted_before_the_job_is_queued_is_not_found(
    client: httpx.Client, worker: Worker, dataset: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = Store.run

    async def delete_before(store: Store, command: Command[Any]) -> Any:
        if command.arguments[1] == "submit":
            assert worker.run(forget_dataset(dataset)).outcome == "forgotten"
        return await run(store, command)

    monkeypatch.setattr(Store, "run", delete_before)
    problem = refused(client.post("/jobs", json={"dataset": dataset}), 404, "dataset_not_found")
    assert [error["pointer"] for error in problem["errors"]] == ["/dataset"]
