"""Which webhooks are valid, and that only their receivers learn their secrets."""

import logging
import stat
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from pydantic import ValidationError

from contract.durable import replace_durably
from contract.identifiers import new_job_id
from contract.job import Failure, State
from contract.owning import leave
from contract.submission import Submission
from contract.volume import Volume
from contract.webhook import Webhook
from service.settings import Settings
from tests.service.playing import Worker
from tests.service.problems import refused
from tests.service.receiver import SECRET, Receiver
from tests.service.serving import client_of
from tests.service.waiting import until

URL = "https://example.com/hook"
HIDDEN = "hidden-text"


@pytest.mark.parametrize(
    ("webhook", "pointer"),
    [
        ({"url": URL}, "/webhook/secret"),
        ({"secret": SECRET}, "/webhook/url"),
        ({"url": URL, "secret": SECRET, HIDDEN[:6]: 1}, f"/webhook/{HIDDEN[:6]}"),
        ({"url": URL, "secret": HIDDEN}, "/webhook/secret"),
        ({"url": URL, "secret": f"whsec_{HIDDEN}"}, "/webhook/secret"),
        ({"url": URL, "secret": "whsec_" + "QUJD" * 7}, "/webhook/secret"),  # 21 bytes
        ({"url": URL, "secret": "whsec_" + "QUJD" * 22}, "/webhook/secret"),  # 66 bytes
        ({"url": URL, "secret": "whsec_" + "Ä" * 32}, "/webhook/secret"),
        ({"url": URL, "secret": [HIDDEN]}, "/webhook/secret"),
        ({"url": f"ftp://example.com/{HIDDEN}", "secret": SECRET}, "/webhook/url"),
        ({"url": f"file:///{HIDDEN}", "secret": SECRET}, "/webhook/url"),
        ({"url": f"https://ann:{HIDDEN}@example.com/", "secret": SECRET}, "/webhook/url"),
        ({"url": f"https://{HIDDEN}@example.com/", "secret": SECRET}, "/webhook/url"),
        ({"url": f"{HIDDEN} is no address", "secret": SECRET}, "/webhook/url"),
        ({"url": "https:///", "secret": SECRET}, "/webhook/url"),
        ({"url": f"https://example.com/{HIDDEN * 300}", "secret": SECRET}, "/webhook/url"),
        ({"url": [URL, HIDDEN], "secret": SECRET}, "/webhook/url"),
        ([HIDDEN], "/webhook"),
        (HIDDEN, "/webhook"),
    ],
)
def test_invalid_webhook_is_refused_without_being_quoted(
    client: httpx.Client, dataset: str, webhook: object, pointer: str
) -> None:
    answer = client.post("/jobs", json={"dataset": dataset, "webhook": webhook})
    problem = refused(answer, 422, "invalid_request")
    assert [error["pointer"] for error in problem["errors"]] == [pointer]
    assert HIDDEN not in answer.text
    assert SECRET not in answer.text


def test_body_that_is_no_object_is_not_quoted(client: httpx.Client) -> None:
    answer = client.post("/jobs", json=[{"webhook": {"secret": SECRET}}])
    refused(answer, 422, "invalid_request")
    assert SECRET not in answer.text


@pytest.fixture
def strict(redis_url: str, data_root: Path) -> Iterator[httpx.Client]:
    """A gateway with default settings for webhooks."""
    settings = Settings(data_root=data_root, redis_url=redis_url.removesuffix("/0") + "/1")
    with client_of(settings) as client:
        yield client


def test_a_private_address_is_refused_at_once(strict: httpx.Client, dataset: str) -> None:
    for host in ("localhost", "127.0.0.1", "169.254.169.254", "[::ffff:10.0.0.1]", "2130706433"):
        webhook = {"url": f"http://{host}/hook", "secret": SECRET}
        answer = strict.post("/jobs", json={"dataset": dataset, "webhook": webhook})
        problem = refused(answer, 422, "invalid_request")
        assert problem["errors"][0]["pointer"] == "/webhook/url"
        assert "DCGAN_WEBHOOK_ALLOW_PRIVATE" in problem["detail"]


@pytest.mark.usefixtures("unhurried")
def test_secret_appears_only_in_the_submission_file(
    client: httpx.Client,
    dataset: str,
    receiver: Receiver,
    volume: Volume,
    worker: Worker,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG)
    receiver.answers = [500]
    made = client.post("/jobs", json={"dataset": dataset, "webhook": receiver.webhook})
    job_id = made.json()["id"]
    worker.run(leave(worker.claim(), State.FAILED, error=Failure(code="not_finite", detail="It diverged.")))
    until(lambda: client.get(f"/jobs/{job_id}").json()["webhook"]["problem"])
    submission = volume.submission(job_id)
    others = [path for path in volume.job(job_id).rglob("*") if path.is_file() and path != submission]
    seen = [
        made.text,
        client.get(f"/jobs/{job_id}").text,
        client.get("/jobs").text,
        client.get(f"/jobs/{job_id}/events", headers={"Accept": "application/json"}).text,
        *(path.read_text() for path in others),
        receiver.calls[0].body.decode(),
        str(receiver.calls[0].headers),
        caplog.text,
    ]
    for hidden in (SECRET, SECRET.removeprefix("whsec_"), "token-in-path", "token-in-query"):
        assert not [text for text in seen if hidden in text]
    assert stat.S_IMODE(submission.stat().st_mode) == 0o600
    kept = Submission.model_validate_json(submission.read_bytes())
    assert kept.webhook
    assert kept.webhook.key == Webhook.model_validate(receiver.webhook).key
    assert SECRET not in f"{kept!r} {kept}"
    assert "token-in" not in f"{kept!r} {kept}"


def test_error_about_a_damaged_submission_does_not_contain_the_secret() -> None:
    text = Submission(webhook=Webhook.model_validate({"url": URL, "secret": SECRET})).model_dump_json()
    for damaged in (text[:-2], text[:-8], text.replace("whsec_", "")):
        with pytest.raises(ValidationError) as complaint:
            Submission.model_validate_json(damaged)
        assert "ZWNyZX" not in str(complaint.value)


def test_retried_job_has_the_receiver_of_the_first_one(
    client: httpx.Client, dataset: str, receiver: Receiver
) -> None:
    first = client.post("/jobs", json={"dataset": dataset, "webhook": receiver.webhook}).json()["id"]
    client.post(f"/jobs/{first}/cancel")
    again = client.post(f"/jobs/{first}/retry").json()
    assert again["webhook"]["origin"] == receiver.url
    client.post(f"/jobs/{again['id']}/cancel")
    until(lambda: len(receiver.calls) == 2)
    assert set(receiver.ids) == {f"{job_id}-cancelled-own" for job_id in (first, again["id"])}


def test_different_secret_is_a_different_request(client: httpx.Client, dataset: str) -> None:
    def post(secret: str) -> httpx.Response:
        body = {"dataset": dataset, "webhook": {"url": URL, "secret": secret}}
        return client.post("/jobs", json=body, headers={"Idempotency-Key": "key"})

    assert [post(SECRET).status_code for _ in range(2)] == [202, 200]
    refused(post("whsec_" + "QUJD" * 9), 422, "idempotency_key_reused")


def test_spec_of_a_job_does_not_depend_on_its_webhook(client: httpx.Client, dataset: str) -> None:
    plain = client.post("/jobs", json={"dataset": dataset}).json()
    told = client.post("/jobs", json={"dataset": dataset, "webhook": {"url": URL, "secret": SECRET}}).json()
    assert told["spec"] == plain["spec"]
    assert (plain["webhook"], told["webhook"]["origin"]) == (None, "https://example.com")


@pytest.mark.parametrize(
    "environment",
    [
        {"DCGAN_WEBHOOK_URL": URL},
        {"DCGAN_WEBHOOK_SECRET": SECRET},
        {"DCGAN_WEBHOOK_URL": URL, "DCGAN_WEBHOOK_SECRET": f"whsec_{HIDDEN}"},
        {"DCGAN_WEBHOOK_URL": f"ftp://example.com/{HIDDEN}", "DCGAN_WEBHOOK_SECRET": SECRET},
        {"DCGAN_WEBHOOK_URL": f"https://ann:{HIDDEN}@example.com", "DCGAN_WEBHOOK_SECRET": SECRET},
    ],
)
def test_incomplete_or_invalid_webhook_setting_is_refused_without_secrets(
    monkeypatch: pytest.MonkeyPatch, environment: dict[str, str]
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(ValidationError) as refusal:
        Settings()
    assert "webhook" in str(refusal.value).lower()
    assert HIDDEN not in str(refusal.value)
    assert SECRET not in str(refusal.value)


def test_empty_setting_counts_as_unset(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("DCGAN_WEBHOOK_URL", "DCGAN_WEBHOOK_SECRET", "DCGAN_WEBHOOK_ALLOW_PRIVATE"):
        monkeypatch.setenv(name, "")
    assert Settings().webhook is None
    assert not Settings().webhook_allow_private


def test_recording_the_delivery_of_a_deleted_job_creates_no_directory(volume: Volume) -> None:
    path = volume.job(new_job_id()) / "told-own.json"
    with pytest.raises(FileNotFoundError):
        replace_durably(path, b"{}")
    assert not path.parent.exists()
