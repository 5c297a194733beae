"""Deletes what is no longer needed: the snapshots of jobs that are over."""

import logging
import shutil

from contract.keys import RecordKind
from contract.volume import Volume
from worker.store import Store

logger = logging.getLogger(__name__)


def drop_needless_snapshots(store: Store, volume: Volume) -> None:
    """Delete the snapshots of finished jobs. Only unfinished jobs resume; checkpoints are kept."""
    for directory in volume.jobs.glob("*/resume"):
        job_id = directory.parent.name
        state = store.state(RecordKind.JOB, job_id)
        if state is not None and state.is_terminal:
            shutil.rmtree(directory, ignore_errors=True)
            logger.info("%s: it is %s; its snapshots are dropped", job_id, state)
