"""What the gateway keeps of prepared datasets, however much was rejected in them."""

import asyncio
import json
from pathlib import Path

import pytest

from contract.errors import ServiceError
from contract.volume import Volume
from contract.volume_watch import VolumeWatch
from service.manifests import Manifests
from service.on_volume import OnVolume

REJECTED = 1_000
FITTING = 50
"""How many datasets with so many rejected files are kept."""


@pytest.fixture
def volume(tmp_path: Path) -> Volume:
    volume = Volume(tmp_path)
    volume.lay_out()
    return volume


def _manifests(volume: Volume) -> Manifests:
    return Manifests(volume, OnVolume(volume, VolumeWatch(volume)))


def written(volume: Volume, number: int, name: str, rejected: int = REJECTED) -> str:
    """A manifest with this name of each rejected file, as an older preparer may have written it."""
    dataset_id = f"ds_{number:016}"
    manifest = {
        "images": 1,
        "held_out_images": 0,
        "rejected": [{"name": name, "reason": "It is damaged."}] * rejected,
        "rejected_images": rejected,
        "channels": 1,
        "median_width": 8,
        "median_height": 8,
        "content_hash": "0" * 64,
    }
    path = volume.manifest(dataset_id)
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps(manifest))
    return dataset_id


def test_summary_of_an_older_manifest_has_short_names(volume: Volume) -> None:
    dataset_id = written(volume, 0, "n" * 10_000 + ".png")
    summary = asyncio.run(_manifests(volume).read(dataset_id))
    assert {len(file.name) for file in summary.rejected} == {200}
    assert summary.rejected[0].name.endswith("n.png")


def test_summaries_are_kept_as_long_as_their_rejected_files_are_few_enough(volume: Volume) -> None:
    ids = [written(volume, number, "a.png") for number in range(FITTING + 1)]
    manifests = _manifests(volume)

    async def read() -> list[bool]:
        for dataset_id in ids:
            await manifests.read(dataset_id)
            volume.manifest(dataset_id).unlink()
        return [await is_kept(dataset_id) for dataset_id in ids]

    async def is_kept(dataset_id: str) -> bool:
        try:
            await manifests.read(dataset_id)
        except ServiceError:
            return False
        return True

    assert asyncio.run(read()) == [False] + [True] * FITTING


def test_summary_with_more_rejected_files_than_are_kept_is_read(volume: Volume) -> None:
    dataset_id = written(volume, 0, "a.png", rejected=FITTING * REJECTED + 1)
    summary = asyncio.run(_manifests(volume).read(dataset_id))
    assert len(summary.rejected) == FITTING * REJECTED + 1
