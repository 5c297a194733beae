"""Deletes what is no longer needed: the snapshots of jobs that are over."""

import contextlib
import logging
import shutil

from contract.keys import RecordKind
from contract.rare_warning import RareWarning
from contract.volume import Volume, entries, is_gone
from worker.store import Store

logger = logging.getLogger(__name__)


def drop_needless_snapshots(store: Store, volume: Volume) -> None:
    """Delete the snapshots of finished jobs. Only unfinished jobs resume; checkpoints are kept."""
    rarely = RareWarning(logger)
    for home in entries(volume.jobs):
        try:
            has_snapshots = volume.snapshots(home.name).is_dir()
        except OSError as error:  # one damaged directory must not stop the others
            rarely.log("%s: whether it has snapshots cannot be told: %s", home.name, error)
            continue
        if has_snapshots:
            _drop_if_needless(home.name, store, volume)


def _drop_if_needless(job_id: str, store: Store, volume: Volume) -> None:
    state = store.state(RecordKind.JOB, job_id)
    if state is not None and state.is_terminal:
        snapshots = volume.snapshots(job_id)
        shutil.rmtree(snapshots, ignore_errors=True)
        with contextlib.suppress(OSError):
            if is_gone(snapshots):
                logger.info("%s: it is %s; its snapshots are dropped", job_id, state)
