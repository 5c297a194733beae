"""What every request of a gateway to the trainers has, and every answer."""

from contract.job import Failure
from contract.plugin import Frozen


class TrainerAsk(Frozen):
    """Gateway to trainers. `deadline_ms` is Redis time, after which no one waits for the answer."""

    id: str
    deadline_ms: int


class TrainerAnswer(Frozen):
    """Trainer to gateway: done, or why not."""

    error: Failure | None = None
