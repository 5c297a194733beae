"""What is sent goes where it was meant to go."""

import pytest

from dcgan import Client, DcganError
from tests.dcgan.conftest import Service


def test_an_id_stays_one_part_of_the_path_whatever_it_holds(service: Service) -> None:
    with Client(service.url) as client:
        for stray in ("../jobs/job_x", "a?b=c#d", "50%2F", "caf\udce9", "é"):
            with pytest.raises(DcganError, match="404"):
                client.delete_dataset(stray)
        with pytest.raises(DcganError, match="404"):
            next(iter(client.events("../models/live")))
        with pytest.raises(DcganError, match="404"):
            client.model("sha256:ab")
    assert service.asked == [
        "DELETE /datasets/..%2Fjobs%2Fjob_x",
        "DELETE /datasets/a%3Fb%3Dc%23d",
        "DELETE /datasets/50%252F",
        "DELETE /datasets/caf%E9",
        "DELETE /datasets/%C3%A9",
        "GET /jobs/..%2Fmodels%2Flive/events",
        "GET /models/sha256:ab",
    ]


@pytest.mark.parametrize("lost", ["", ".", ".."])
def test_an_id_that_a_path_would_lose_is_refused(service: Service, lost: str) -> None:
    with Client(service.url) as client:
        for ask in (client.delete_job, client.events, client.alias_history):
            with pytest.raises(DcganError, match="neither an id nor a name"):
                ask(lost)
    assert not service.asked


def test_a_state_stays_one_value_whatever_it_holds(service: Service) -> None:
    service.answers["GET /jobs"] = (200, "application/json", b'{"items": [], "next": null}')
    with Client(service.url) as client:
        assert not list(client.jobs("a&limit=1"))
    assert service.asked == ["GET /jobs?state=a%26limit%3D1"]


def test_what_is_deleted_is_named(service: Service) -> None:
    service.answers |= {"DELETE /datasets/ds_1": (204, "", b""), "DELETE /jobs/job_1": (204, "", b"")}
    with Client(service.url) as client:
        client.delete_dataset("ds_1")
        client.delete_job("job_1")
    assert service.asked == ["DELETE /datasets/ds_1", "DELETE /jobs/job_1"]
