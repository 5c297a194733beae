import json

import pytest

from contract.errors import ErrorCode
from contract.sampling import SampleSpec
from contract.wire import Answer, Stages

DIGEST = "sha256:" + "0" * 64


@pytest.mark.parametrize(
    "answer",
    [
        Answer("1", "ours", b"\n\x89PNG\n", stages=Stages(batch=0.25, forward=16.5, encode=3.0, each=0.0125)),
        Answer("1", "ours", b"", ErrorCode.INTERNAL, "it failed"),
        Answer("1", "ours", b"", ErrorCode.INVALID_REQUEST, "too many", field="count"),
    ],
)
def test_answer_round_trips(answer: Answer) -> None:
    assert Answer.unpack(answer.pack()) == answer


def test_answer_without_stages_of_an_older_sampler_is_parsed() -> None:
    frame = json.dumps(["1", "ours", None, ""]).encode() + b"\ncontent"
    assert Answer.unpack(frame) == Answer("1", "ours", b"content")


def test_answer_with_more_stages_of_a_newer_sampler_is_parsed() -> None:
    frame = json.dumps(["1", "ours", None, "", 1.0, 2.0, 3.0, 4.0, 5.0]).encode() + b"\ncontent"
    assert Answer.unpack(frame) == Answer("1", "ours", b"content", stages=Stages(1.0, 2.0, 3.0, 4.0))


def test_explicit_precision_is_a_different_picture() -> None:
    automatic = SampleSpec(digest=DIGEST, seed=7, count=1)
    exact = SampleSpec(digest=DIGEST, seed=7, count=1, precision="float32")
    assert automatic.canonical() != exact.canonical()
    assert automatic.canonical() == SampleSpec(digest=DIGEST, seed=7, count=1, precision="auto").canonical()
