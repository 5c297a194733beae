"""The wire format of sampling requests and answers in Redis: one line of JSON, then raw bytes."""

import json
from dataclasses import dataclass

from contract.errors import ErrorCode
from contract.sampling import CheckpointPlace, SampleSpec

MALFORMED = (ValueError, TypeError, KeyError, RecursionError)
"""What unpacking a frame raises that is of another version, say, or no frame at all."""


@dataclass(frozen=True)
class Ask:
    """Gateway to samplers. `deadline_ms` is Redis time, after which no one waits for the answer."""

    id: str
    gateway: str
    deadline_ms: int
    spec: SampleSpec
    place: CheckpointPlace

    def pack(self) -> str:
        spec, place = self.spec.model_dump(exclude_defaults=True), self.place.model_dump()
        frame = [self.id, self.gateway, self.deadline_ms, spec, place]
        return json.dumps(frame, separators=(",", ":"))

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
    """From the pop to the forward pass: earlier portions, loading a generator; and pauses."""
    forward: float
    """The forward passes of its whole portion, without pauses between them."""
    encode: float
    """Until it was ready to be sent, including others of its portion."""
    each: float = 0.0
    """What a sample of this generator takes in full batches, as measured when it was loaded; 0 if unknown."""


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
    field: str = ""
    """The field of the ask's spec that `detail` objects to, if it is one."""

    def pack(self) -> bytes:
        head = [self.id, self.renderer, self.error, self.detail, *self._rest()]
        return json.dumps(head, separators=(",", ":")).encode() + b"\n" + self.content

    def _rest(self) -> list[float | str]:
        if self.stages:
            spent = (self.stages.batch, self.stages.forward, self.stages.encode)
            return [*(round(took, 2) for took in spent), round(self.stages.each, 4)]
        return [0, 0, 0, self.field] if self.field else []

    @classmethod
    def unpack(cls, frame: bytes) -> "Answer":
        head, _, content = frame.partition(b"\n")
        request_id, renderer, error, detail, *rest = json.loads(head)  # a newer sampler may send more
        if error:
            return cls(request_id, renderer, content, ErrorCode(error), detail, field="".join(rest[3:4]))
        return cls(request_id, renderer, content, detail=detail, stages=Stages(*rest[:4]) if rest else None)
