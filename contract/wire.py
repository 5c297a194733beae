"""The wire format of sampling requests and answers in Redis: one line of JSON, then raw bytes."""

import json
from dataclasses import dataclass

from contract.errors import ErrorCode
from contract.sampling import CheckpointPlace, SampleSpec


@dataclass(frozen=True)
class Ask:
    """Gateway to samplers. `deadline_ms` is Redis time, after which no one waits for the answer."""

    id: str
    gateway: str
    deadline_ms: int
    spec: SampleSpec
    place: CheckpointPlace

    def pack(self) -> bytes:
        spec, place = self.spec.model_dump(exclude_defaults=True), self.place.model_dump()
        frame = [self.id, self.gateway, self.deadline_ms, spec, place]
        return json.dumps(frame, separators=(",", ":")).encode()

    @classmethod
    def unpack(cls, frame: bytes) -> "Ask":
        request_id, gateway, deadline_ms, spec, place = json.loads(frame)
        return cls(
            request_id,
            gateway,
            deadline_ms,
            SampleSpec.model_validate(spec),
            CheckpointPlace.model_validate(place),
        )


@dataclass(frozen=True)
class Stages:
    """How a sampler's time for one answer was spent, in milliseconds."""

    batch: float
    """From the pop to the forward pass: earlier portions, loading a generator."""
    forward: float
    """The forward pass of its whole portion."""
    encode: float
    """Until it was ready to be sent, including others of its portion."""


@dataclass(frozen=True)
class Answer:
    """Sampler to gateway: the encoded picture, or why there is none. `renderer` names what rendered it."""

    id: str
    renderer: str
    content: bytes
    error: ErrorCode | None = None
    detail: str = ""
    stages: Stages | None = None
    """None if nothing was rendered."""

    def pack(self) -> bytes:
        took = (self.stages.batch, self.stages.forward, self.stages.encode) if self.stages else ()
        head = [self.id, self.renderer, self.error, self.detail, *(round(stage, 2) for stage in took)]
        return json.dumps(head, separators=(",", ":")).encode() + b"\n" + self.content

    @classmethod
    def unpack(cls, frame: bytes) -> "Answer":
        head, _, content = frame.partition(b"\n")
        request_id, renderer, error, detail, *took = json.loads(head)
        reason = ErrorCode(error) if error else None
        stages = Stages(*took[:3]) if took else None  # a newer sampler may send more
        return cls(request_id, renderer, content, reason, detail, stages)
