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
class Answer:
    """Sampler to gateway: the encoded picture, or why there is none. `renderer` says who made it."""

    id: str
    renderer: str
    content: bytes
    error: ErrorCode | None = None
    detail: str = ""

    def pack(self) -> bytes:
        head = json.dumps([self.id, self.renderer, self.error, self.detail], separators=(",", ":"))
        return head.encode() + b"\n" + self.content

    @classmethod
    def unpack(cls, frame: bytes) -> "Answer":
        head, _, content = frame.partition(b"\n")
        request_id, renderer, error, detail = json.loads(head)
        return cls(request_id, renderer, content, ErrorCode(error) if error else None, detail)
