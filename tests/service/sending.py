"""Generator files to send to a gateway, which checks their headers; a trainer checks the tensors."""

import json

import httpx

from contract.volume import Volume
from tests.models.checkpoints import spec

SPEC = spec().model_dump(mode="json")
HEADER = {"format_version": 1, "job": "job_" + "0" * 16, "spec": SPEC, "images_seen": 7}
TENSOR = {"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 24]}


def packed(header: object, body: bytes = b"\0" * 24) -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + body


def checkpoint(**more: object) -> bytes:
    """A file that is complete by its header; `more` changes its metadata."""
    metadata = {"dcgan": json.dumps({**HEADER, **more})}
    return packed({"__metadata__": metadata, "a": TENSOR})


def send(
    client: httpx.Client, content: bytes, media_type: str = "application/octet-stream"
) -> httpx.Response:
    return client.post("/models", content=content, headers={"Content-Type": media_type})


def left(volume: Volume) -> list[str]:
    """The files that are being received, or were left over."""
    return [path.name for path in volume.incoming_imports.glob("*")]
