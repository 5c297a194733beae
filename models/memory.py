"""Whether a training run fits into memory, told before it begins, and what to change if it does not."""

from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache

import torch

from contract.errors import ErrorCode, FieldError, ServiceError
from contract.training import TrainingSpec
from models.environment import NumericEnvironment
from models.evaluation import MOST_SAMPLES
from models.rehearsal import rehearse

# Fitted to the peaks measured in docs/training.md.
AROUND_BYTES = 32 * 2**20
"""What the first steps bring in that is no tensor: kernels and their plans."""
AROUND_ON_GPU_BYTES = 320 * 2**20
"""The same on a GPU: the scratch space of cuBLAS and cuDNN, which every recorded graph holds on to."""
JUDGING_BYTES = {"embedded": 20 * 2**20, "inception": 800 * 2**20}
"""What evaluations bring in, by their features: a network and its maps, and what it has made of the reals."""
HEAP = 1.6
"""What tensors take on a CPU, with the scratch space of kernels, and the gaps of a heap that keeps all."""
MARGIN = 1.05
"""The rest is right to 5 % in float32 on a CPU: a run that is let begin shall not end for want of memory."""
WORKSPACE = 1.1
"""What tensors take on a GPU, with the scratch space of the kernels."""
GAPS, MOST_GAPS_BYTES = 0.25, 256 * 2**20
"""What the gaps that freed tensors leave take there besides; the largest tensors leave none."""
COPIES = 4
"""How often the state is there while a snapshot is written: a contiguous copy, and both forms of the file."""
KEPT = 0.9
"""Of what a step has freed, what of the heap is of no use to them."""

LEAST_BATCH = 2


def needed_bytes(spec: TrainingSpec, environment: NumericEnvironment) -> int:
    """The peak that training takes beyond the program itself: an estimate, rather high than low.

    On the CPU that is for all ranks together, on GPUs in each one's memory.
    """
    living = rehearse(spec.part, environment)
    judging = JUDGING_BYTES[spec.evaluation.features]
    if environment.device == "cpu":
        stepping = HEAP * living.peak
        saving = COPIES * living.state + KEPT * (living.peak - living.state)
        all_ranks = max(stepping, saving) + (spec.devices - 1) * stepping
        samples = MOST_SAMPLES * spec.channels * spec.resolution**2
        return round(MARGIN * (AROUND_BYTES * spec.devices + judging + samples + all_ranks))
    stepping = WORKSPACE * living.peak + min(GAPS * living.peak, MOST_GAPS_BYTES)
    # A GPU's snapshots are written from the host's memory, which has the pixels of its samples, too.
    return AROUND_ON_GPU_BYTES + judging + round(stepping)


def require_memory(
    spec: TrainingSpec, environment: NumericEnvironment, available_bytes: int, *, besides_bytes: int = 0
) -> None:
    """Let a run begin only if it fits, together with the `besides_bytes` that something else needs meanwhile.

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
    """The largest half, quarter, … of the batch with which the run fits, or None."""
    sizes = [spec.devices * each for each in _halvings(spec.batch_size // spec.devices)]

    @cache
    def needed(batch_size: int) -> int:
        return needed_bytes(spec.model_copy(update={"batch_size": batch_size}), environment)

    place = bisect_left(sizes, True, key=lambda size: needed(size) <= available_bytes)  # noqa: FBT003
    return Smaller(sizes[place], needed(sizes[place])) if place < len(sizes) else None


def refused(spec: TrainingSpec, needed: int, available: int, smaller: Smaller | None) -> ServiceError:
    """The refusal of a run that does not fit: both figures in bytes, and what to change."""
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
    """Bytes that are free on the current CUDA device."""
    free, _ = torch.cuda.mem_get_info()
    return free


def _halvings(batch_size: int) -> Iterator[int]:
    while batch_size > LEAST_BATCH:
        batch_size = max(batch_size // 2, LEAST_BATCH)
        yield batch_size


def _readable(count: int) -> str:
    return f"{count / 2**30:.1f} GiB" if count >= 2**30 else f"{max(count, 0) / 2**20:.0f} MiB"
