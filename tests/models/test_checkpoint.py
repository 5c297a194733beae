import errno
import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors import safe_open

from contract.checkpoint import HEADER_KEY, CheckpointHeader
from contract.errors import ErrorCode, ServiceError
from contract.training import TrainingSpec
from models.batches import Batches
from models.checkpoint import load_checkpoint, load_snapshot, save_checkpoint, save_snapshot
from models.ema import served_generator
from models.environment import NumericEnvironment, detect
from models.state import TrainingState
from models.trainer import train
from models.watch import Watch

MakeBatches = Callable[[TrainingSpec], Batches]


@pytest.fixture
def trained(state: TrainingState, make_batches: MakeBatches) -> TrainingState:
    next(train(state, make_batches(state.spec)))
    return state


@pytest.fixture
def header(spec: TrainingSpec) -> CheckpointHeader:
    return CheckpointHeader(job="job_" + "0" * 16, spec=spec, images_seen=2, metrics={"frechet": 1.5})


@pytest.fixture
def checkpoint(trained: TrainingState, header: CheckpointHeader, tmp_path: Path) -> Path:
    path = tmp_path / "generator.safetensors"
    save_checkpoint(served_generator(trained), header, path)
    return path


@pytest.fixture
def snapshot(trained: TrainingState, tmp_path: Path) -> Path:
    path = tmp_path / "snapshot.safetensors"
    save_snapshot(trained, path)
    return path


def test_header_of_a_newer_version_is_readable(header: CheckpointHeader) -> None:
    newer = header.model_dump() | {"of_a_newer_version": 1}
    assert CheckpointHeader.model_validate(newer) == header


def test_guards_memory_of_other_versions_is_readable() -> None:
    unusual = Watch(
        suspected=("decline",), begun_generator_rate=0.5, best_repeated=0.1, best_repeated_limit=0.05
    )
    assert Watch.model_validate_json(unusual.model_dump_json()) == unusual
    newer = unusual.model_dump() | {"of_a_newer_version": 1}
    assert Watch.model_validate(newer) == unusual


def test_loaded_generator_makes_the_same_images(trained: TrainingState, checkpoint: Path) -> None:
    latents = torch.randn(4, 8, generator=torch.Generator().manual_seed(0))
    loaded, _ = load_checkpoint(checkpoint)
    assert not loaded.training
    assert torch.allclose(loaded(latents), served_generator(trained)(latents), atol=1e-6)


def test_header_is_loaded_as_it_was_saved(checkpoint: Path, header: CheckpointHeader) -> None:
    assert load_checkpoint(checkpoint)[1] == header
    with safe_open(checkpoint, "pt") as file:
        assert json.loads(file.metadata()[HEADER_KEY])["spec"]["resolution"] == header.spec.resolution


def test_same_generator_gives_the_same_file(
    trained: TrainingState, header: CheckpointHeader, checkpoint: Path, tmp_path: Path
) -> None:
    digest = save_checkpoint(served_generator(trained), header, tmp_path / "again.safetensors")
    assert (tmp_path / "again.safetensors").read_bytes() == checkpoint.read_bytes()
    assert load_checkpoint(checkpoint, digest)


def test_memory_layout_does_not_change_the_file(
    trained: TrainingState, header: CheckpointHeader, tmp_path: Path
) -> None:
    generator = served_generator(trained)
    digests = set()
    for layout in ("contiguous", "channels_last"):
        environment = trained.environment.model_copy(update={"layout": layout})
        environment.place(generator)
        digests.add(save_checkpoint(generator, header, tmp_path / "generator.safetensors"))
    assert len(digests) == 1


def test_saving_leaves_no_other_file(checkpoint: Path) -> None:
    assert list(checkpoint.parent.iterdir()) == [checkpoint]


def test_wrong_digest_is_refused(checkpoint: Path) -> None:
    with pytest.raises(ServiceError) as refusal:
        load_checkpoint(checkpoint, "sha256:" + "0" * 64)
    assert refusal.value.code is ErrorCode.CHECKPOINT_UNREADABLE


@pytest.mark.parametrize("keep", [0.0, 0.01, 0.5, 0.999])
@pytest.mark.parametrize("kind", ["checkpoint", "snapshot"])
def test_truncated_file_is_refused(
    kind: str, keep: float, state: TrainingState, request: pytest.FixtureRequest
) -> None:
    path: Path = request.getfixturevalue(kind)
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * keep)])
    with pytest.raises(ServiceError) as refusal:
        load_checkpoint(path) if kind == "checkpoint" else load_snapshot(path, state)
    assert refusal.value.code is ErrorCode.CHECKPOINT_UNREADABLE


@pytest.mark.parametrize("share", [0.5, 0.999])
def test_corrupt_snapshot_is_refused_and_leaves_the_state_unchanged(
    share: float, snapshot: Path, state: TrainingState
) -> None:
    before = {name: tensor.clone() for name, tensor in state.tensors()}
    content = bytearray(snapshot.read_bytes())
    content[int(len(content) * share)] ^= 1
    snapshot.write_bytes(content)
    with pytest.raises(ServiceError, match="checksum"):
        load_snapshot(snapshot, state)
    assert all(torch.equal(tensor, before[name]) for name, tensor in state.tensors())


def test_lack_of_memory_is_not_blamed_on_a_checkpoint(
    checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(path: Path) -> bytes:
        raise OSError(errno.ENOMEM, os.strerror(errno.ENOMEM))

    monkeypatch.setattr(Path, "read_bytes", fail)
    with pytest.raises(OSError, match="memory"):
        load_checkpoint(checkpoint)


@pytest.mark.parametrize(
    ("target", "error"),
    [("snapshot.safetensors", "symbolic links"), ("/proc/self/mem", "Input/output error")],
)
def test_snapshot_that_cannot_be_read_now_or_on_this_host_is_not_given_up(
    snapshot: Path, state: TrainingState, target: str, error: str
) -> None:
    snapshot.unlink()
    snapshot.symlink_to(snapshot.parent / target)
    with pytest.raises(OSError, match=error):
        load_snapshot(snapshot, state)


def test_snapshot_with_a_corrupt_header_is_refused(snapshot: Path, state: TrainingState) -> None:
    content = snapshot.read_bytes()
    snapshot.write_bytes(content.replace(rb"\"images_seen\":2", rb"\"images_seen\":3"))
    with pytest.raises(ServiceError, match="checksum"):
        load_snapshot(snapshot, state)


def test_file_with_a_newer_format_version_is_refused(checkpoint: Path) -> None:
    content = checkpoint.read_bytes()
    checkpoint.write_bytes(content.replace(rb"\"format_version\":1", rb"\"format_version\":9", 1))
    with pytest.raises(ServiceError, match="version is 9"):
        load_checkpoint(checkpoint)


def test_snapshot_restores_every_tensor_in_place_and_in_its_layout(
    trained: TrainingState, snapshot: Path, environment: NumericEnvironment
) -> None:
    fresh = TrainingState.fresh(trained.spec, environment)
    storage = {name: tensor.data_ptr() for name, tensor in fresh.tensors()}
    assert load_snapshot(snapshot, fresh) == environment
    assert fresh.images_seen == trained.images_seen
    saved = dict(trained.tensors())
    for name, tensor in fresh.tensors():
        assert torch.equal(tensor, saved[name]), name
        assert tensor.stride() == saved[name].stride(), name
        assert tensor.data_ptr() == storage[name], name


def test_loading_a_snapshot_returns_the_environment_that_saved_it(
    trained: TrainingState, snapshot: Path
) -> None:
    elsewhere = detect("cpu", 3, "float32")
    assert load_snapshot(snapshot, TrainingState.fresh(trained.spec, elsewhere)) != elsewhere


@pytest.mark.parametrize("kind", ["checkpoint", "snapshot"])
def test_refusal_of_a_missing_file_names_it(kind: str, state: TrainingState, tmp_path: Path) -> None:
    path = tmp_path / "none.safetensors"
    with pytest.raises(ServiceError, match="there is no such file") as refusal:
        load_checkpoint(path) if kind == "checkpoint" else load_snapshot(path, state)
    assert refusal.value.code is ErrorCode.CHECKPOINT_UNREADABLE
    assert path.name in refusal.value.detail


def test_snapshot_keeps_the_latest_loss_of_each_name(
    make_spec: Callable[..., TrainingSpec],
    make_batches: Callable[[TrainingSpec], Batches],
    environment: NumericEnvironment,
    tmp_path: Path,
) -> None:
    """After the sixth step of a critic, the generator's loss is that of the fifth."""
    spec = make_spec(objective={"kind": "wgan_gp", "critic_steps": 5}, images=12, batch_size=2)
    straight, resumed = TrainingState.fresh(spec, environment), TrainingState.blank(spec, environment)
    steps = list(train(straight, make_batches(spec)))
    assert "generator" not in steps[-1].losses
    save_snapshot(straight, tmp_path / "snapshot")
    load_snapshot(tmp_path / "snapshot", resumed)
    assert resumed.read_losses() == straight.read_losses()
    assert {"generator", "discriminator"} <= set(resumed.read_losses())
