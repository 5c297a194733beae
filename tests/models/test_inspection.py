"""An uploaded checkpoint is accepted only if it matches its header exactly and is finite."""

import hashlib
from collections.abc import Callable
from pathlib import Path

import pytest
import safetensors.torch
import torch
from torch import Tensor

from contract.checkpoint import HEADER_KEY, CheckpointHeader
from contract.errors import ErrorCode, ServiceError
from models.inspection import inspect
from tests.models.checkpoints import KINDS, generator, spec, write

Tensors = dict[str, Tensor]
FIRST = "layers.0.weight"


def forge(path: Path, spoil: Callable[[Tensors], object], **more: object) -> tuple[Path, str]:
    """Write an intact but invalid checkpoint and return its path and digest."""
    tensors = {
        name: one.clone() for name, one in generator().state_dict().items() if "num_batches" not in name
    }
    spoil(tensors)
    header = CheckpointHeader(job="job_" + "0" * 16, spec=spec(**more), images_seen=0)  # type: ignore[arg-type]
    content = safetensors.torch.save(tensors, metadata={HEADER_KEY: header.model_dump_json()})
    path.write_bytes(content)
    return path, f"sha256:{hashlib.sha256(content).hexdigest()}"


@pytest.mark.parametrize("kind", KINDS)
def test_checkpoint_that_we_wrote_is_accepted(tmp_path: Path, kind: str) -> None:
    inspect(*write(tmp_path / "g", kind))


def put(name: str, value: Tensor) -> Callable[[Tensors], object]:
    return lambda tensors: tensors.update({name: value})


def poke(name: str, value: float) -> Callable[[Tensors], object]:
    return lambda tensors: tensors[name].view(-1)[-1].fill_(value)


def fill(name: str, value: float) -> Callable[[Tensors], object]:
    return lambda tensors: tensors[name].fill_(value)


SPOILT: dict[str, tuple[Callable[[Tensors], object], str]] = {
    "a tensor too many": (put("layers.0.evil", torch.zeros(1)), "not of its network"),
    "a tensor too few": (lambda tensors: tensors.pop(FIRST), "missing"),
    "another shape": (put(FIRST, torch.zeros(8, 16, 4, 5)), "not torch.float32"),
    "another type": (lambda tensors: tensors.update({FIRST: tensors[FIRST].double()}), "float64"),
    "a number that is none": (poke(FIRST, float("nan")), "not finite"),
    "an infinite number": (poke(FIRST, float("inf")), "not finite"),
    "a variance below zero": (poke("layers.1.running_var", -1.0), "images are not finite"),
    "overflow for other seeds": (fill(FIRST, 8e37), "images are not finite in float32"),
    "overflow if folded": (fill(FIRST, 5e37), "images are not finite in float32"),
    "overflow in bfloat16": (poke("layers.9.weight", 3.4e38), "images are not finite in bfloat16"),
}


@pytest.mark.parametrize(("spoil", "why"), SPOILT.values(), ids=SPOILT)
def test_tensors_that_do_not_fit_their_network_are_refused(
    tmp_path: Path, spoil: Callable[[Tensors], object], why: str
) -> None:
    with pytest.raises(ServiceError, match=why) as refusal:
        inspect(*forge(tmp_path / "g", spoil))
    assert refusal.value.code is ErrorCode.NOT_A_CHECKPOINT


def test_huge_network_in_the_header_is_not_allocated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def allocate(*_: object, **__: object) -> None:
        raise AssertionError("the network was allocated before it was compared")

    huge = {"kind": "dcgan", "latent_size": 1024, "generator_width": 512, "discriminator_width": 512}
    forged = forge(tmp_path / "g", lambda _: None, architecture=huge, resolution=256)
    monkeypatch.setattr(torch.nn.Module, "to_empty", allocate)
    with pytest.raises(ServiceError, match="the tensor"):
        inspect(*forged)


def refused(path: Path, content: bytes) -> str:
    """Why a file with this content is not a checkpoint."""
    path.write_bytes(content)
    with pytest.raises(ServiceError) as refusal:
        inspect(path, f"sha256:{hashlib.sha256(content).hexdigest()}")
    assert refusal.value.code is ErrorCode.NOT_A_CHECKPOINT
    assert path.name not in refusal.value.detail
    return refusal.value.detail


@pytest.mark.parametrize("text", ["[]", "null", "1", '"x"', "[" * 200_000], ids=lambda text: text[:4])
def test_json_that_is_not_a_header_is_refused(tmp_path: Path, text: str) -> None:
    refused(tmp_path / "incoming", safetensors.torch.save({}, metadata={HEADER_KEY: text}))


def test_header_without_a_format_version_is_refused(tmp_path: Path) -> None:
    whole = write(tmp_path / "g")[0].read_bytes()
    assert "its format version is None" in refused(
        tmp_path / "incoming", whole.replace(rb"\"format_version\"", rb"\"format_revised\"")
    )


@pytest.mark.parametrize(
    "more",
    [
        rb'"__metadata__":{"other":1},',
        rb'"__metadata__":{"other":"x"},',
        rb'"\ud800":{"dtype":"F32","shape":[0],"data_offsets":[0,0]},',
    ],
    ids=["metadata that is no text", "metadata twice", "a name that is no text"],
)
def test_header_that_only_a_lenient_parser_reads_is_refused(tmp_path: Path, more: bytes) -> None:
    whole = write(tmp_path / "g")[0].read_bytes()
    length = int.from_bytes(whole[:8], "little")
    lengthened = (length + len(more)).to_bytes(8, "little") + b"{" + more + whole[9:]
    assert "safetensors" in refused(tmp_path / "incoming", lengthened)


def test_wrong_digest_is_refused(tmp_path: Path) -> None:
    path, _ = write(tmp_path / "g")
    with pytest.raises(ServiceError) as refusal:
        inspect(path, "sha256:" + "0" * 64)
    assert refusal.value.code is ErrorCode.CHECKPOINT_UNREADABLE
