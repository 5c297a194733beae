"""The processes that train one job together, each on its part of every batch.

Every rank holds the whole state and takes the same steps: gradients, losses and batch-norm statistics are
averaged over the ranks before they are used. This is one sum over one flat tensor at each player's step,
always in the same order, so that a resumed run gives the same bits. torch's DistributedDataParallel (Li et
al. 2020, arXiv 2006.15704) regroups gradients into other buckets after its first backward pass, which changes
the bits with three ranks or more.

Batch norm sees only a rank's own part, as is common; so do terms that compare images with each other.
"""

from collections.abc import Iterable
from datetime import timedelta
from pathlib import Path
from typing import Protocol

import torch
import torch.distributed as dist
from torch import Tensor

from contract.devices import Device
from contract.plugin import Frozen
from models.state import TrainingState
from models.watch import Watch

PATIENCE = timedelta(days=7)
"""Practically no timeout: the supervisor of the ranks ends one that waits for another."""


class Ranks(Protocol):
    """What a step needs to know about the ranks."""

    def part(self, batch_size: int) -> slice:
        """This rank's rows of a batch."""
        ...

    def average(self, tensors: Iterable[Tensor]) -> None:
        """Replace each tensor by its mean over the ranks (float32, equal shapes on all ranks)."""
        ...

    def lead(self, state: TrainingState, meet_at: int) -> None:
        """Send this state to all other ranks, and the number of images seen at which they receive it next."""
        ...


class Alone:
    """The single rank of most runs."""

    def part(self, batch_size: int) -> slice:
        return slice(0, batch_size)

    def average(self, tensors: Iterable[Tensor]) -> None:
        """Do nothing: the mean over one rank."""

    def lead(self, state: TrainingState, meet_at: int) -> None:
        """Do nothing: there are no other ranks."""


class Group:
    """One of several ranks on one machine: nccl on GPUs, gloo on the CPU. At most one group per process."""

    def __init__(self, rank: int, count: int, meeting_point: Path, device: Device) -> None:
        """Wait until all ranks have joined. `meeting_point` is a new file that all of them can write."""
        self._rank, self._count, self._device = rank, count, device
        dist.init_process_group(
            "nccl" if device == "cuda" else "gloo",
            store=dist.FileStore(str(meeting_point), count),  # type: ignore[attr-defined]
            rank=rank,
            world_size=count,
            timeout=PATIENCE,
        )

    def part(self, batch_size: int) -> slice:
        each = batch_size // self._count
        return slice(self._rank * each, (self._rank + 1) * each)

    @torch.no_grad()
    def average(self, tensors: Iterable[Tensor]) -> None:
        averaged = list(tensors)
        flat = torch.cat([tensor.reshape(-1) for tensor in averaged])
        dist.all_reduce(flat)
        flat /= self._count
        means = torch.split(flat, [tensor.numel() for tensor in averaged])
        for tensor, mean in zip(averaged, means, strict=True):
            tensor.copy_(mean.view(tensor.shape))

    def lead(self, state: TrainingState, meet_at: int) -> None:
        said = _Said(images_seen=state.images_seen, watch=state.watch, meet_at=meet_at)
        content = torch.frombuffer(bytearray(said.model_dump_json().encode()), dtype=torch.uint8)
        self._broadcast(torch.tensor([len(content)]))
        self._broadcast(content)
        for _, tensor in state.tensors():
            self._broadcast(tensor.detach().contiguous())

    @torch.no_grad()
    def follow(self, state: TrainingState) -> int:
        """Wait for the leader and copy its state; returns its `meet_at`."""
        length = self._broadcast(torch.zeros(1, dtype=torch.int64))
        content = self._broadcast(torch.empty(int(length), dtype=torch.uint8))
        said = _Said.model_validate_json(bytes(content.cpu().numpy()))
        for _, tensor in state.tensors():
            tensor.copy_(self._broadcast(torch.empty_like(tensor, memory_format=torch.contiguous_format)))
        state.images_seen, state.watch = said.images_seen, said.watch
        return said.meet_at

    def _broadcast(self, tensor: Tensor) -> Tensor:
        """The first rank's tensor, on the group's device."""
        shared = tensor.to(self._device)
        dist.broadcast(shared, src=0)
        return shared


class _Said(Frozen):
    """The parts of a leader's message that are not tensors."""

    images_seen: int
    watch: Watch
    meet_at: int
