"""Refusals name the state that the client sees, and ask for nothing that it has done already."""

import httpx
import pytest

from contract.owning import Lease
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
