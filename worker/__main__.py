"""`dcgan worker --role train|prepare|sample`: runs one worker process until SIGTERM."""

import argparse
import logging
import os
import sys
import warnings

from contract.configuration import EXIT_CODE, LOG_FORMAT
from contract.keys import Role


def main() -> None:
    """Start the worker in an empty directory, so that no other `models` package shadows ours."""
    parser = argparse.ArgumentParser(prog="dcgan worker", description=__doc__)
    parser.add_argument("--role", type=Role, choices=list(Role), required=True)
    role: Role = parser.parse_args().role

    from celery.exceptions import SecurityWarning
    from celery.signals import setup_logging

    from contract.volume import Volume
    from worker.app import create_app
    from worker.arrival import await_volume
    from worker.child import UnfitError
    from worker.settings import let_cuda_be_deterministic, read_settings
    from worker.slot import Slot
    from worker.store import Store

    let_cuda_be_deterministic()
    settings = read_settings().with_absolute_paths()
    logging.basicConfig(level=settings.log_level, format=LOG_FORMAT, stream=sys.stdout)
    setup_logging.connect(_leave_logging_alone)
    warnings.filterwarnings("ignore", category=SecurityWarning)  # about root and pickle; we accept only JSON
    for chatty in ("celery", "kombu", "amqp"):
        logging.getLogger(chatty).setLevel(max(logging.getLogger().level, logging.WARNING))
    await_volume(Store(settings.redis_url), Volume(settings.data_root))
    with Slot(role, Volume(settings.data_root).run) as slot:
        os.chdir(slot.directory)
        logging.info("worker %s starts on %s", slot.name, settings.data_root)
        try:
            app = create_app(role, slot.name, settings)
        except UnfitError as error:
            logging.critical("the settings do not suit this machine: %s", error)
            sys.exit(EXIT_CODE)
        worker = app.Worker(
            hostname=f"{slot.name}@dcgan",
            pool="threads",
            concurrency=1,
            queues=[role.value],
            without_gossip=True,
            without_mingle=True,
            without_heartbeat=True,
            quiet=True,
        )
        worker.start()
    sys.exit(worker.exitcode)


def _leave_logging_alone(**_settings: object) -> None:
    """Connected to `setup_logging`, without which Celery raises the root logger's level to WARNING."""


if __name__ == "__main__":
    main()
