import json

import pytest

from contract.errors import ErrorCode
from contract.sampling import SampleSpec
from contract.wire import Answer, Stages

DIGEST = "sha256:" + "0" * 64


@pytest.mark.parametrize(
    "answer",
    [
        Answer("1", "ours", b"\n\x89PNG\n", stages=Stages(batch=0.25, forward=16.5, encode=3.0)),
        Answer("1", "ours", b"", ErrorCode.INTERNAL, "it failed"),
    ],
)
def test_answer_arrives_as_it_was_sent(answer: Answer) -> None:
    assert Answer.unpack(answer.pack()) == answer


def test_answer_of_a_sampler_that_knows_no_stages_is_read() -> None:
    frame = json.dumps(["1", "ours", None, ""]).encode() + b"\ncontent"
    assert Answer.unpack(frame) == Answer("1", "ours", b"content")


def test_answer_of_a_sampler_that_tells_of_more_stages_is_read() -> None:
    frame = json.dumps(["1", "ours", None, "", 1.0, 2.0, 3.0, 4.0]).encode() + b"\ncontent"
    assert Answer.unpack(frame) == Answer("1", "ours", b"content", stages=Stages(1.0, 2.0, 3.0))


def test_precision_on_request_is_another_picture() -> None:
    automatic = SampleSpec(digest=DIGEST, seed=7, count=1)
    exact = SampleSpec(digest=DIGEST, seed=7, count=1, precision="float32")
    assert automatic.canonical() != exact.canonical()
    assert automatic.canonical() == SampleSpec(digest=DIGEST, seed=7, count=1, precision="auto").canonical()
