"""Checks before a training run starts whether it fits into memory, and says what to change if it does not."""

from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache

import torch

from contract.augmentation import DiffAugment
from contract.devices import Device
from contract.errors import ErrorCode, FieldError, ServiceError
from contract.training import TrainingSpec
from models.environment import NumericEnvironment
from models.features import CHOICES
from models.panel import MOST_SAMPLES
from models.rehearsal import rehearse

# Fitted to the peaks measured in docs/training.md.
AROUND_BYTES = 32 * 2**20
"""Memory that the first steps allocate besides tensors: kernels and their plans."""
AROUND_ON_GPU_BYTES = 320 * 2**20
"""The same on a GPU: scratch space of cuBLAS and cuDNN, which every recorded graph retains."""
HEAP = 1.6
"""Memory per byte of tensors on a CPU: adds kernels' scratch space and the gaps of an untrimmed heap."""
MARGIN = 1.05
"""The estimate is accurate to 5 % in float32 on a CPU, and an admitted run must not run out of memory."""
WORKSPACE = 1.1
"""Memory per byte of tensors on a GPU: adds kernels' scratch space."""
GAPS, MOST_GAPS_BYTES = 0.25, 256 * 2**20
"""Fragmentation on a GPU: the gaps left by freed tensors; the largest tensors leave none."""
COPIES = 4
"""Copies of the state while a snapshot is written: itself, a contiguous one, and both forms of the file."""
KEPT = 0.9
"""The share of the memory freed by a step that the heap cannot reuse for these copies."""

LEAST_BATCH = 2


def needed_bytes(spec: TrainingSpec, environment: NumericEnvironment) -> int:
    """Estimate the peak memory of training beyond the program itself; rather too high than too low.

    On the CPU it is the total of all ranks, on GPUs the memory of each.
    """
    living = rehearse(_augmented(spec.part), environment)
    judging = CHOICES[spec.evaluation.features].judging_bytes
    if environment.device == "cpu":
        stepping = HEAP * living.peak
        saving = COPIES * living.state + KEPT * (living.peak - living.state)
        all_ranks = max(stepping, saving) + (spec.devices - 1) * stepping
        samples = MOST_SAMPLES * spec.form.picture_bytes
        return round(MARGIN * (AROUND_BYTES * spec.devices + judging + samples + all_ranks))
    stepping = WORKSPACE * living.peak + min(GAPS * living.peak, MOST_GAPS_BYTES)
    # A GPU's snapshots and the pixels of its samples are in the host's memory.
    return AROUND_ON_GPU_BYTES + judging + round(stepping)


def pictures_bytes(spec: TrainingSpec, images: int, device: Device) -> int:
    """The memory of a dataset's pictures: copied to a GPU's, but on a CPU only mapped."""
    return images * spec.form.picture_bytes if device == "cuda" else 0


def _augmented(spec: TrainingSpec) -> TrainingSpec:
    """The spec with augmentation at full strength, up to which guards may raise it at any time."""
    augmentation = (spec.augmentation or DiffAugment()).model_copy(update={"strength": 1.0})
    return spec.model_copy(update={"augmentation": augmentation})


def require_memory(
    spec: TrainingSpec, environment: NumericEnvironment, available_bytes: int, *, besides_bytes: int = 0
) -> None:
    """Check that a run fits into memory, together with `besides_bytes` needed by something else meanwhile.

    Raises:
        ServiceError: `insufficient_memory`, with both figures and what to change.
    """
    needed = needed_bytes(spec, environment) + besides_bytes
    if needed > available_bytes:
        raise refused(
            spec, needed, available_bytes, fitting(spec, environment, available_bytes - besides_bytes)
        )


@dataclass(frozen=True)
class Smaller:
    """A batch that fits."""

    batch_size: int
    needed_bytes: int


def fitting(spec: TrainingSpec, environment: NumericEnvironment, available_bytes: int) -> Smaller | None:
    """The largest half, quarter, … of the batch size with which the run fits, or None."""
    sizes = [spec.devices * each for each in _halvings(spec.batch_size // spec.devices)]

    @cache
    def needed(batch_size: int) -> int:
        return needed_bytes(spec.model_copy(update={"batch_size": batch_size}), environment)

    place = bisect_left(sizes, True, key=lambda size: needed(size) <= available_bytes)  # noqa: FBT003
    return Smaller(sizes[place], needed(sizes[place])) if place < len(sizes) else None


def refused(spec: TrainingSpec, needed: int, available: int, smaller: Smaller | None) -> ServiceError:
    """The error for a run that does not fit, with both figures and what to change."""
    remedy = "No batch_size would fit: choose a smaller resolution or narrower networks, or free some memory."
    if smaller:
        taken = _readable(smaller.needed_bytes)
        remedy = f"Set batch_size to {smaller.batch_size}: that takes about {taken}."
    detail = (
        f"Training at {spec.resolution} px in batches of {spec.batch_size} needs about {_readable(needed)} "
        f"of memory, and {_readable(available)} can be had. {remedy}"
    )
    return ServiceError(ErrorCode.INSUFFICIENT_MEMORY, detail, fields=(FieldError("/batch_size", detail),))


def free_on_gpu() -> int:
    """Free bytes on the current CUDA device."""
    free, _ = torch.cuda.mem_get_info()
    return free


def _halvings(batch_size: int) -> Iterator[int]:
    while batch_size > LEAST_BATCH:
        batch_size = max(batch_size // 2, LEAST_BATCH)
        yield batch_size


def _readable(count: int) -> str:
    return f"{count / 2**30:.1f} GiB" if count >= 2**30 else f"{max(count, 0) / 2**20:.0f} MiB"
