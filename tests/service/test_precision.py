"""float32 on request: a different picture, with a URL of its own."""

import httpx

from contract.job import CheckpointFact
from tests.service.playing import Sampler
from tests.service.problems import refused


def test_float32_can_be_requested_and_has_its_own_etag(
    client: httpx.Client, sampler: Sampler, finished: CheckpointFact
) -> None:
    automatic = client.get("/samples?seed=7")
    exact = client.get("/samples?seed=7&precision=float32")
    assert [ask.spec.precision for ask in sampler.asks] == ["auto", "float32"]
    assert automatic.headers["etag"] != exact.headers["etag"]


def test_pinned_url_keeps_the_precision(
    client: httpx.Client, sampler: Sampler, finished: CheckpointFact
) -> None:
    exact = client.get("/samples?seed=7&precision=float32")
    pinned = client.get(exact.headers["content-location"])
    assert (pinned.content, pinned.headers["etag"]) == (exact.content, exact.headers["etag"])


def test_other_precisions_are_refused(client: httpx.Client, finished: CheckpointFact) -> None:
    for precision in ("bfloat16", "float64", ""):
        answer = client.get("/samples", params={"seed": 7, "precision": precision})
        assert "float32" in refused(answer, 422, "invalid_request")["errors"][0]["detail"]
