"""One rank of a run, for `test_ranks.py`: `python -m tests.models.rank_child RANK RANKS MEETING_POINT`.

Reads specs from stdin, one per line. For each, writes a line to stdout: hashes of all tensors in the final
state, the parameters of its generator, and the losses of all steps.
"""

import hashlib
import json
import sys
from pathlib import Path

import numpy as np

from contract.training import TrainingSpec
from models.batches import Batches
from models.environment import detect
from models.ranks import Alone, Group, Ranks
from models.state import TrainingState
from models.trainer import train


def carry_out(spec: TrainingSpec, ranks: Ranks) -> dict[str, object]:
    environment = detect("cpu", 1, spec.precision)
    environment.apply()
    pictures = np.random.default_rng(0).integers(0, 256, (7, spec.channels, 32, 32), dtype=np.uint8)
    state = TrainingState.fresh(spec, environment)
    losses = [
        progress.read() for progress in train(state, Batches.of(spec, pictures, np.arange(7), "cpu"), ranks)
    ]
    bits = {name: tensor.detach().contiguous().numpy().tobytes() for name, tensor in state.tensors()}
    return {
        "hashes": {name: hashlib.sha256(content).hexdigest() for name, content in bits.items()},
        "weights": {name: p.flatten().tolist() for name, p in state.generator.named_parameters()},
        "losses": losses,
    }


if __name__ == "__main__":
    rank, count = int(sys.argv[1]), int(sys.argv[2])
    group = Group(rank, count, Path(sys.argv[3]), "cpu") if count > 1 else Alone()
    for line in sys.stdin:
        sys.stdout.write(json.dumps(carry_out(TrainingSpec.model_validate_json(line), group)) + "\n")
