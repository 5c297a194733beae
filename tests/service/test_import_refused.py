"""Files that are no valid generators are refused with the reason, and nothing of them is kept."""

import hashlib
import pickle

import httpx
import pytest

from contract.errors import ErrorCode
from contract.job import Failure
from contract.keys import IMPORTS, Role
from contract.volume import Volume
from service.settings import Settings
from tests.service.playing import Trainer, Worker
from tests.service.problems import refused
from tests.service.sending import SPEC, TENSOR, checkpoint, left, packed, send
from tests.service.serving import client_of
from tests.service.waiting import until

BINARY = "application/octet-stream"

WRONG: dict[str, tuple[bytes, str]] = {
    "a pickle": (pickle.dumps({"weights": [1.0]}), "it is a pickle"),
    "a pickle of torch": (b"PK\3\4" + b"\0" * 100, "it is a zip archive"),
    "a few bytes": (b"abc", "cut off"),
    "a header beyond the file": (packed({})[:8] + b"{", "cut off"),
    "a length that nobody has": (b"\xff" * 8 + b"{}", "cut off"),
    "an endless header": (packed(b" " * 300_000, b""), "the limit is"),
    "no JSON": (packed(b"\xff\xfe", b""), "damaged"),
    "bottomless": (packed(b"[" * 100_000, b""), "damaged"),
    "a list": (packed([1], b""), "not a JSON object"),
    "somebody else's": (packed({"a": TENSOR}), "something else"),
    "other metadata": (packed({"__metadata__": {"format": "pt"}, "a": TENSOR}), "something else"),
    "torn": (checkpoint()[:-1], "23"),
    "padded": (checkpoint() + b"\0", "25"),
    "half floats": (packed({"a": {**TENSOR, "dtype": "F16"}}), "F16"),
    "a gap": (packed({"a": {**TENSOR, "data_offsets": [4, 28]}}, b"\0" * 28), "does not lie"),
    "an overlap": (packed({"a": TENSOR, "b": TENSOR}), "does not lie"),
    "a negative shape": (packed({"a": {**TENSOR, "shape": [-2, -3]}}), "whole numbers"),
    "a huge shape": (packed({"a": {**TENSOR, "shape": [2**62, 2**62]}}), "does not lie"),
    "an endless shape": (packed({"a": {**TENSOR, "shape": [9] * 86_000}}), "86,000 dimensions"),
    "a shape of words": (packed({"a": {**TENSOR, "shape": ["2", 3]}}), "whole numbers"),
    "no places": (packed({"a": {"dtype": "F32", "shape": [2, 3]}}), "damaged"),
    "a tensor that is a number": (packed({"a": 7}), "damaged"),
    "a newer version": (checkpoint(format_version=2), "format_version"),
    "an absurd width": (
        checkpoint(spec={**SPEC, "architecture": {"kind": "dcgan", "generator_width": 10**9}}),
        "generator_width",
    ),
    "an absurd resolution": (checkpoint(spec={**SPEC, "resolution": 10**6}), "spec"),
    "an unknown family": (checkpoint(spec={**SPEC, "architecture": "gpt"}), "architecture"),
    "no job": (checkpoint(job="../../etc"), "job"),
}


@pytest.mark.parametrize(("content", "why"), WRONG.values(), ids=WRONG)
def test_invalid_checkpoint_is_refused_with_the_reason(
    client: httpx.Client, trainer: Trainer, volume: Volume, content: bytes, why: str
) -> None:
    problem = refused(send(client, content), 422, "not_a_checkpoint")
    assert why in problem["detail"]
    assert (trainer.asks, left(volume)) == ([], [])


def test_checkpoint_that_the_trainer_refuses_is_not_kept(
    client: httpx.Client, trainer: Trainer, volume: Volume
) -> None:
    trainer.refusal = Failure(code=ErrorCode.NOT_A_CHECKPOINT, detail="It holds a number that is not finite.")
    content = checkpoint(images_seen=4)
    assert "finite" in refused(send(client, content), 422, "not_a_checkpoint")["detail"]
    digest = f"sha256:{hashlib.sha256(content).hexdigest()}"
    refused(client.get(f"/models/{digest}"), 404, "model_not_found")
    assert (left(volume), volume.imported(digest).exists()) == ([], False)


def test_empty_body_wrong_type_and_missing_trainer_are_refused(
    client: httpx.Client, volume: Volume, worker: Worker
) -> None:
    refused(send(client, b""), 422, "body_empty")
    refused(send(client, checkpoint(), "application/json"), 415, "unsupported_media_type")
    worker.goodbye(Role.TRAIN)
    until(lambda: client.get("/readyz").status_code == 503)
    refused(send(client, checkpoint(images_seen=5)), 503, "no_trainer")
    assert left(volume) == []


def test_import_over_the_limit_for_a_file_or_for_all_imports_is_refused(
    worker: Worker, trainer: Trainer
) -> None:
    content = checkpoint(images_seen=6)
    limits = {"max_import_bytes": len(content), "imports_bytes": 2 * len(content) - 1}
    worker.redis.delete(IMPORTS)
    settings = Settings(data_root=worker.volume.root, redis_url=worker.url, **limits)  # type: ignore[arg-type]
    with client_of(settings) as client:
        refused(send(client, content + b"\0"), 413, "body_too_large")
        stream = (content[:100] for _ in range(1000))
        refused(
            client.post("/models", content=stream, headers={"Content-Type": BINARY}),
            413,
            "body_too_large",
        )
        assert send(client, content).status_code == 201
        assert "DELETE" in refused(send(client, checkpoint(images_seen=8)), 507, "imports_full")["detail"]
        assert send(client, content).status_code == 200
    assert left(worker.volume) == []
