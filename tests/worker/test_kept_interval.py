"""A resumed run is judged as often as it began, and its snapshots can still be read by older versions."""

import json

import pytest
from safetensors import safe_open

from contract.checkpoint import HEADER_KEY
from contract.volume import Volume
from models import panel
from tests.worker.test_rescue import judgements, order_of
from tests.worker.training_child import carry_out
from worker import link

HEADER_FIELDS = {"format_version", "spec", "environment", "images_seen", "watch", "losses", "checksum"}
WATCH_FIELDS = {
    "begun_images_seen",
    "best_images_seen",
    "best_distance",
    "best_diversity",
    "has_lived",
    "evaluations_since_best",
    "rollbacks_since_best",
    "adjustments",
}


def test_resumed_run_is_judged_as_often_as_it_began_though_another_version_would_count_otherwise(
    volume: Volume, monkeypatch: pytest.MonkeyPatch
) -> None:
    order = order_of(volume, evaluation=None).model_copy(update={"snapshot_seconds": 0})
    with monkeypatch.context() as otherwise:
        otherwise.setattr(panel, "LARGEST_SHARE", 0.95)
        said = carry_out(order)
    first = next(message.snapshot for message in said if isinstance(message, link.Saved))
    again = carry_out(order.model_copy(update={"snapshot": first}))
    assert judgements(again) == judgements(said)
    assert len(judgements(said)) == panel.FEWEST_EVALUATIONS


def test_usual_snapshot_has_no_field_that_older_versions_refuse(volume: Volume) -> None:
    """Those from before 2026-11-30 refuse any that they do not know, and the job would begin anew."""
    order = order_of(volume, evaluation=None).model_copy(update={"snapshot_seconds": 0})
    first = next(message.snapshot for message in carry_out(order) if isinstance(message, link.Saved))
    with safe_open(volume.snapshot(order.job, first.file), "pt") as file:
        header = json.loads(file.metadata()[HEADER_KEY])
    assert {*header} == HEADER_FIELDS
    assert {*header["watch"]} == WATCH_FIELDS
