"""Summaries of prepared datasets, without a manifest's two long lists; cached, as it never changes."""

import logging
from typing import Literal

from pydantic import BaseModel, ConfigDict

from contract.dataset import RejectedFile
from contract.durable import lack
from contract.errors import ErrorCode, ServiceError
from contract.volume import Volume
from service.on_volume import OnVolume

_KEPT = 1024
_KEPT_REJECTED = 50_000
"""Rejected files in all summaries that are kept, some 1 KiB each at most."""

logger = logging.getLogger(__name__)


class ManifestSummary(BaseModel):
    """A manifest without the names and hashes of its pictures, of which there may be a million."""

    model_config = ConfigDict(frozen=True)

    images: int
    held_out_images: int
    rejected: tuple[RejectedFile, ...] = ()
    rejected_images: int = 0
    duplicate_images: int = 0
    channels: Literal[1, 3]
    median_width: int
    median_height: int
    content_hash: str


class Manifests:
    """Reads and caches summaries by dataset."""

    def __init__(self, volume: Volume, on_volume: OnVolume) -> None:
        self._volume = volume
        self._on_volume = on_volume
        self._kept: dict[str, ManifestSummary] = {}

    async def read(self, dataset_id: str) -> ManifestSummary:
        """Return the summary of a prepared dataset.

        Raises:
            ServiceError: `dataset_not_ready` if its manifest is missing or cannot be read.
            OSError: the volume fails.
        """
        if kept := self._kept.get(dataset_id):
            return kept
        summary = await self._on_volume(self._load, dataset_id)
        self._keep(dataset_id, summary)
        return summary

    def _keep(self, dataset_id: str, summary: ManifestSummary) -> None:
        self._kept[dataset_id] = summary
        while len(self._kept) > _KEPT or self._rejected() > _KEPT_REJECTED:
            self._kept.pop(next(iter(self._kept)))

    def _rejected(self) -> int:
        return sum(len(summary.rejected) for summary in self._kept.values())

    def _load(self, dataset_id: str) -> ManifestSummary:
        try:
            return ManifestSummary.model_validate_json(self._volume.manifest(dataset_id).read_bytes())
        except (OSError, ValueError) as error:
            if lack(error):
                raise
            logger.warning("the manifest of %s cannot be read: %s", dataset_id, error)
            detail = (
                f"The manifest of {dataset_id} is missing on the volume or damaged; restore it from a backup,"
                " or upload the images again."
            )
            raise ServiceError(ErrorCode.DATASET_NOT_READY, detail) from None
