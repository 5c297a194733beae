"""How a sampling request and its answer travel through Redis: one line of JSON, then raw bytes."""

import json
from dataclasses import dataclass

from contract.errors import ErrorCode
from contract.sampling import CheckpointPlace, SampleSpec


@dataclass(frozen=True)
class Ask:
    """Gateway to samplers. `deadline_ms` is Redis time; after it nobody waits for the answer."""

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
    """Where a sampler's time for one answer went, in milliseconds."""

    batch: float
    """From being taken to the forward pass: the portions before it, a generator that was loaded."""
    forward: float
    """Of the whole portion that it was part of."""
    encode: float
    """Until it was ready to be sent, others of its portion included."""


@dataclass(frozen=True)
class Answer:
    """Sampler to gateway: the encoded picture, or why there is none. `renderer` says who made it."""

    id: str
    renderer: str
    content: bytes
    error: ErrorCode | None = None
    detail: str = ""
    stages: Stages | None = None
    """None where nothing was rendered."""

    def pack(self) -> bytes:
        took = (self.stages.batch, self.stages.forward, self.stages.encode) if self.stages else ()
        head = [self.id, self.renderer, self.error, self.detail, *(round(stage, 2) for stage in took)]
        return json.dumps(head, separators=(",", ":")).encode() + b"\n" + self.content

    @classmethod
    def unpack(cls, frame: bytes) -> "Answer":
        head, _, content = frame.partition(b"\n")
        request_id, renderer, error, detail, *took = json.loads(head)
        reason = ErrorCode(error) if error else None
        stages = Stages(*took[:3]) if took else None  # a newer sampler may tell more
        return cls(request_id, renderer, content, reason, detail, stages)
