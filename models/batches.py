"""The batch of real images at any point of a run: a stateless function of (seed, images_seen)."""

from collections.abc import Mapping
from functools import lru_cache
from typing import Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from contract.training import TrainingSpec
from models.pixels import to_numbers
from models.randomness import coin_flips, permutation

ALL = slice(None)


class Batches:
    """An endless sequence of batches; every epoch shows each training image once, in a new order.

    The pixels stay on the device as uint8; on the CPU they are the memory-mapped file, without a copy.
    """

    def __init__(
        self,
        array: NDArray[np.uint8],
        train_indices: NDArray[np.int64],
        *,
        batch_size: int,
        seed: int,
        device: str,
        mirror: bool,
    ) -> None:
        """`array` holds (N, C, R, R); only `train_indices` are shown."""
        assert len(train_indices) > 0
        self.batch_size = batch_size
        self._pixels = torch.from_numpy(array).to(device)
        self._train_indices = train_indices
        self._seed = seed
        self._mirror = mirror
        self._epoch = lru_cache(maxsize=4)(self._shuffled)

    @classmethod
    def of(
        cls, spec: TrainingSpec, array: NDArray[np.uint8], train_indices: NDArray[np.int64], device: str
    ) -> Self:
        """The batches of a run."""
        return cls(
            array,
            train_indices,
            batch_size=spec.batch_size,
            seed=spec.seed,
            device=device,
            mirror=spec.mirror,
        )

    def draw(self, images_seen: int, part: slice = ALL) -> dict[str, Tensor]:
        """Draw the batch after `images_seen`, or a part of it, on the CPU.

        Returns `indices` (N,), int64, and if images are mirrored `mirrored` (N,), bool. A batch may straddle
        epochs, and a dataset smaller than a batch appears more than once in it.
        """
        drawn = {"indices": torch.from_numpy(self._indices(images_seen)[part])}
        if self._mirror:
            mirrored = coin_flips(self._seed, "mirror", images_seen, self.batch_size)
            drawn["mirrored"] = torch.from_numpy(mirrored[part])
        return drawn

    def images(self, drawn: Mapping[str, Tensor]) -> Tensor:
        """The images (N, C, R, R), float32 in [-1, 1], of a draw that was moved to the pixels' device."""
        images = to_numbers(self._pixels.index_select(0, drawn["indices"]))  # (N, C, R, R)
        if "mirrored" in drawn:
            images = torch.where(drawn["mirrored"][:, None, None, None], images.flip(3), images)
        return images

    def _indices(self, images_seen: int) -> NDArray[np.int64]:
        """The images at positions images_seen … images_seen + N − 1 of the endless sequence."""
        positions = np.arange(images_seen, images_seen + self.batch_size)
        epochs, places = np.divmod(positions, len(self._train_indices))
        chosen = [self._epoch(epoch)[places[epochs == epoch]] for epoch in range(epochs[0], epochs[-1] + 1)]
        return np.concatenate(chosen)

    def _shuffled(self, epoch: int) -> NDArray[np.int64]:
        return self._train_indices[permutation(self._seed, "epoch", epoch, len(self._train_indices))]
