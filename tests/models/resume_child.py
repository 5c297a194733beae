"""A trainer process for `test_resume.py`: carries out training requests from stdin, one per line.

A request has a `spec`, the number of `threads`, a `directory` for the generator, and a snapshot to `resume`
from. If that is null, the run writes snapshots as well, `save_at` these counts of images. The response is a
line on stdout: the `digest` of the generator's file, the memory `layout` and hashes of all `tensors` in the
final state, or an `error`.
"""

import hashlib
import json
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from contract.checkpoint import CheckpointHeader
from contract.training import TrainingSpec
from models.batches import Batches
from models.checkpoint import load_snapshot, save_checkpoint, save_snapshot
from models.ema import served_generator
from models.environment import detect
from models.state import TrainingState
from models.trainer import train


def carry_out(
    spec: TrainingSpec, directory: Path, resume: Path | None, save_at: Sequence[int], threads: int
) -> dict[str, object]:
    environment = detect("cpu", threads, spec.precision)
    environment.apply()
    state = TrainingState.fresh(spec, environment)
    if resume:
        load_snapshot(resume, state)
    pictures = np.random.default_rng(0).integers(0, 256, (7, spec.channels, 32, 32), dtype=np.uint8)
    batches = Batches(
        pictures, np.arange(7), batch_size=spec.batch_size, seed=spec.seed, device="cpu", mirror=spec.mirror
    )
    for progress in train(state, batches):
        if not resume and progress.images_seen in save_at:
            save_snapshot(state, directory / f"{progress.images_seen}.safetensors")
    header = CheckpointHeader(job="job_" + "0" * 16, spec=spec, images_seen=state.images_seen)
    digest = save_checkpoint(served_generator(state), header, directory / "generator.safetensors")
    bits = {name: tensor.detach().contiguous().numpy().tobytes() for name, tensor in state.tensors()}
    hashes = {name: hashlib.sha256(content).hexdigest() for name, content in bits.items()}
    return {"digest": digest, "layout": environment.layout, "tensors": hashes}


def answer(asked: dict[str, Any]) -> dict[str, object]:
    resume = Path(asked["resume"]) if asked["resume"] else None
    spec, directory = TrainingSpec.model_validate(asked["spec"]), Path(asked["directory"])
    try:
        return carry_out(spec, directory, resume, asked["save_at"], asked["threads"])
    except Exception:
        return {"error": traceback.format_exc()}


if __name__ == "__main__":
    for line in sys.stdin:
        sys.stdout.write(json.dumps(answer(json.loads(line))) + "\n")
