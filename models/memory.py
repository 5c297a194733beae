"""Whether a training run fits into memory, told before it begins, and what to change if it does not."""

import torch

from contract.errors import ErrorCode, FieldError, ServiceError
from contract.training import TrainingSpec
from models.environment import NumericEnvironment
from models.rehearsal import rehearse

# Fitted to the peaks measured in docs/training.md.
AROUND_BYTES = 32 * 2**20
"""What the first steps bring in that is no tensor: kernels and their plans."""
WORKSPACE = 1.1
"""What tensors take, with the scratch space of the kernels."""
GAPS, MOST_GAPS_BYTES = 0.25, 256 * 2**20
"""What the gaps that freed tensors leave take besides; the largest tensors leave none."""
COPIES = 4
"""How often the state is there while a snapshot is written: a contiguous copy, and both forms of the file."""
KEPT = 0.7
"""Of what a step has freed, what the allocator still holds by then."""

LEAST_BATCH = 2


def needed_bytes(spec: TrainingSpec, environment: NumericEnvironment) -> int:
    """The peak that training takes beyond the program itself: an estimate, rather high than low."""
    living = rehearse(spec, environment)
    stepping = WORKSPACE * living.peak + min(GAPS * living.peak, MOST_GAPS_BYTES)
    saving = COPIES * living.state + KEPT * (living.peak - living.state)
    in_one_memory = environment.device == "cpu"  # a GPU's snapshots are written from the host's
    return AROUND_BYTES + round(max(stepping, saving) if in_one_memory else stepping)


def require_memory(
    spec: TrainingSpec, environment: NumericEnvironment, available_bytes: int, *, besides_bytes: int = 0
) -> None:
    """Let a run begin only if it fits, together with the `besides_bytes` that something else needs meanwhile.

    Raises:
        ServiceError: `insufficient_memory`, with both figures and what to change.
    """
    needed = needed_bytes(spec, environment) + besides_bytes
    if needed <= available_bytes:
        return
    detail = (
        f"Training at {spec.resolution} px in batches of {spec.batch_size} needs about {_readable(needed)} "
        f"of memory, and {_readable(available_bytes)} can be had. "
    ) + _remedy(spec, environment, available_bytes - besides_bytes)
    raise ServiceError(ErrorCode.INSUFFICIENT_MEMORY, detail, fields=(FieldError("/batch_size", detail),))


def free_on_gpu() -> int:
    """Bytes that are free on the current CUDA device."""
    free, _ = torch.cuda.mem_get_info()
    return free


def _remedy(spec: TrainingSpec, environment: NumericEnvironment, available_bytes: int) -> str:
    """A sentence: the largest half, quarter, … of the batch that fits, or what else would help."""
    smaller = spec
    while smaller.batch_size > LEAST_BATCH:
        smaller = spec.model_copy(update={"batch_size": max(smaller.batch_size // 2, LEAST_BATCH)})
        needed = needed_bytes(smaller, environment)
        if needed <= available_bytes:
            return f"Set batch_size to {smaller.batch_size}: that takes about {_readable(needed)}."
    return "No batch_size would fit: choose a smaller resolution or narrower networks, or free some memory."


def _readable(count: int) -> str:
    return f"{count / 2**30:.1f} GiB" if count >= 2**30 else f"{max(count, 0) / 2**20:.0f} MiB"
