"""Weights on disk: checkpoints (a generator, to serve) and snapshots (a whole training state, to resume).

Both are safetensors files with one JSON header, written temp → fsync → rename → fsync(dir). Their bytes are a
function of their content. Tensors are stored contiguous, whatever their layout in memory: safetensors has no
strides, so tensors are loaded by copying into storage that already has its layout. Assigning loaded tensors
would pair contiguous moments with channels_last weights in fused Adam, which works in memory order, and
training would continue silently wrong.
"""

import errno
import hashlib
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Literal, TypeVar

import safetensors.torch
import torch
from pydantic import ValidationError
from safetensors import SafetensorError
from torch import Tensor

from contract.checkpoint import HEADER_KEY, CheckpointHeader
from contract.durable import Write, write_durably
from contract.errors import ErrorCode, ServiceError
from contract.kept import Kept
from contract.plugin import Frozen
from contract.training import TrainingSpec
from models import networks
from models.allocator import returning_large_blocks
from models.environment import NumericEnvironment
from models.networks.pair import Generator
from models.state import TrainingState
from models.watch import Watch

HeaderType = TypeVar("HeaderType", bound=Frozen)

FORMAT_VERSIONS = (1,)
"""All loadable versions of checkpoints and snapshots. None is ever removed from this list."""
_LENGTH_BYTES = 8
_MOST_HEADER_BYTES = 2**20


class MalformedError(Exception):
    """The content is no checkpoint or snapshot that can be loaded; the message says why."""


class SnapshotHeader(Kept):
    """Everything in a training state that is not a tensor, and a checksum over the tensors."""

    format_version: Literal[1] = 1
    spec: TrainingSpec
    environment: NumericEnvironment
    images_seen: int
    watch: Watch = Watch()
    losses: Mapping[str, float] = {}
    checksum: str
    """sha256 over the header before this field and every tensor; detects torn writes and bit rot."""


@returning_large_blocks()
def save_checkpoint(
    generator: Generator, header: CheckpointHeader, path: Path, write: Write = write_durably
) -> str:
    """Write a generator durably. Returns its digest, `sha256:…` of the file."""
    tensors = {name: tensor for name, tensor in generator.state_dict().items() if not is_counter(name)}
    content = _serialised(tensors, header)
    write(path, content)
    return _digest(content)


def load_checkpoint(path: Path, expected_digest: str | None = None) -> tuple[Generator, CheckpointHeader]:
    """Read a generator, in eval mode on the CPU, and its header.

    Raises:
        ServiceError: `checkpoint_unreadable` when the file is missing or damaged, cannot be read, has an
            unknown format, or does not match `expected_digest`.
    """
    with _naming(path):
        header, tensors = parse_checkpoint(read_content(path, expected_digest))
        spec = header.spec
        generator = networks.build(spec.architecture, spec.resolution, spec.channels).generator
        _fill({n: t for n, t in generator.state_dict().items() if not is_counter(n)}, tensors)
    for name, tensor in generator.state_dict().items():
        if is_counter(name):
            tensor.zero_()
    return generator.eval(), header


def read_header(path: Path) -> CheckpointHeader:
    """A checkpoint's header, without reading its tensors.

    Raises:
        MalformedError: it is no checkpoint.
        OSError: it cannot be read.
    """
    with path.open("rb") as file:
        start = file.read(_LENGTH_BYTES)
        start += file.read(min(int.from_bytes(start, "little"), _MOST_HEADER_BYTES))
    with _malformed():
        return _validated(CheckpointHeader, _header_text(start))


def read_content(path: Path, expected_digest: str | None) -> bytes:
    """Read a checkpoint's file as a whole, without looking into it.

    Raises:
        ServiceError: `checkpoint_unreadable`, also if its digest is not the expected one.
    """
    try:
        content = _content(path)
    except OSError as error:
        if error.errno == errno.ENOMEM:
            raise
        raise unreadable(path, f"it cannot be read ({error.strerror})") from error
    if expected_digest not in (None, _digest(content)):
        raise unreadable(path, f"its content is not what its digest {expected_digest} names")
    return content


def parse_checkpoint(content: bytes) -> tuple[CheckpointHeader, dict[str, Tensor]]:
    """A checkpoint's header and tensors, without checking that they belong to the same network.

    Raises:
        MalformedError: it is no checkpoint.
    """
    text, tensors = _parse(content)
    return _validated(CheckpointHeader, text), tensors


@returning_large_blocks()
def save_snapshot(state: TrainingState, path: Path, write: Write = write_durably) -> None:
    """Write everything that a bit-exact resume needs, durably. Waits for the device."""
    tensors = dict(state.tensors())
    header = SnapshotHeader(
        spec=state.spec,
        environment=state.environment,
        images_seen=state.images_seen,
        watch=state.watch,
        losses=state.read_losses(),
        checksum="",
    )
    checksum = _checksum(header.model_dump_json(), tensors)
    write(path, _serialised(tensors, header.model_copy(update={"checksum": checksum})))


def load_snapshot(path: Path, state: TrainingState) -> NumericEnvironment:
    """Load a snapshot into a `state` of the same spec, in place. Returns the environment of the snapshot.

    If that differs from the state's own, training continues, but not bit for bit as it would have.

    Raises:
        ServiceError: `checkpoint_unreadable` when the file is missing or damaged; `state` is then unchanged.
        OSError: it cannot be read, now or on this host.
    """
    header = _restore(path, state)
    state.images_seen, state.watch = header.images_seen, header.watch
    state.losses = {name: torch.tensor(loss, dtype=torch.float64) for name, loss in header.losses.items()}
    return header.environment


def load_weights(path: Path, state: TrainingState) -> None:
    """Load only the networks and optimisers of `state` from a snapshot of its own run.

    Raises:
        ServiceError, OSError: as `load_snapshot` does.
    """
    _restore(path, state)


def _restore(path: Path, state: TrainingState) -> SnapshotHeader:
    with _naming(path):
        text, tensors = _parse(_content(path))
        header = _validated(SnapshotHeader, text)
        if header.checksum != _checksum(text, tensors):
            raise MalformedError("its checksum is wrong: it was damaged after it had been written")
        assert header.spec == state.spec, "a snapshot is resumed under the spec that made it"
        _fill(dict(state.tensors()), tensors)
    return header


def is_counter(name: str) -> bool:
    """Whether this tensor is a batch norm's step count, which serving does not need."""
    return name.endswith("num_batches_tracked")


def _serialised(tensors: Mapping[str, Tensor], header: Frozen) -> bytes:
    return safetensors.torch.save(
        {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()},
        metadata={HEADER_KEY: header.model_dump_json()},
    )


def _content(path: Path) -> bytes:
    """Read a whole file. Errors that may be the volume's or this host's are passed on."""
    try:
        return path.read_bytes()
    except FileNotFoundError as error:
        raise unreadable(path, "there is no such file on the volume") from error


def _parse(content: bytes) -> tuple[str, dict[str, Tensor]]:
    """The header's JSON and the tensors of a file with a known format version."""
    with _malformed():
        tensors = safetensors.torch.load(content)
        return _header_text(content), tensors


def _header_text(content: bytes) -> str:
    """The header's JSON, of a known format version. The content may end where the tensors begin."""
    length = int.from_bytes(content[:_LENGTH_BYTES], "little")
    text: str = json.loads(content[_LENGTH_BYTES : _LENGTH_BYTES + length])["__metadata__"][HEADER_KEY]
    version = json.loads(text).get("format_version")
    if version not in FORMAT_VERSIONS:
        raise MalformedError(f"its format version is {version}; this program reads {FORMAT_VERSIONS}")
    return text


@contextmanager
def _malformed() -> Iterator[None]:
    """What parsing raises says that the content is not ours."""
    try:
        yield
    except (SafetensorError, ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        raise MalformedError(f"it is not a whole safetensors file of ours ({error})") from error


def _validated(model: type[HeaderType], text: str) -> HeaderType:
    try:
        return model.model_validate_json(text)
    except ValidationError as error:
        raise MalformedError(f"its header is not that of a {model.__name__}") from error


def _fill(storage: Mapping[str, Tensor], tensors: Mapping[str, Tensor]) -> None:
    """Copy every tensor into existing storage, which keeps its layout and device. All or nothing."""
    shapes = {name: tensor.shape for name, tensor in storage.items()}
    if shapes != {name: tensor.shape for name, tensor in tensors.items()}:
        raise MalformedError("its tensors are not those of the network in its header")
    with torch.no_grad():
        for name, tensor in storage.items():
            tensor.copy_(tensors[name])


def _checksum(header: str, tensors: Mapping[str, Tensor]) -> str:
    """The checksum over the header's JSON as written, without its last field, and the tensors.

    It uses the text as written, because serialising the header of an older version again would add fields.
    """
    whole = hashlib.sha256((header.rpartition(',"checksum":')[0] + "}").encode())
    for name, tensor in sorted(tensors.items()):
        whole.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        whole.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return whole.hexdigest()


def _digest(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


@contextmanager
def _naming(path: Path) -> Iterator[None]:
    """Report what is wrong with a file's content under its name."""
    try:
        yield
    except MalformedError as error:
        raise unreadable(path, str(error)) from error


def unreadable(path: Path, reason: str) -> ServiceError:
    """The refusal of a file, under its name."""
    return ServiceError(ErrorCode.CHECKPOINT_UNREADABLE, f"{path.name} cannot be used: {reason}.")
