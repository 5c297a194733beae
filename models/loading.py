"""How much memory loading a generator takes, as far as the beginning of its file tells."""

from pathlib import Path

from models.checkpoint import MalformedError, read_header
from models.environment import NumericEnvironment
from models.inference import plan
from models.largest_batch import largest_batch, pass_bytes

_COPIES = 4
"""Of the weights: what was read, the tensors, and copies in other forms."""
_BATCHES = 4
"""Of images, as floats: the probes' first ones, and what is compared with them."""
_FLOAT_BYTES = 4
_LIBRARIES_BYTES = 48 * 2**20
"""What else was measured, of oneDNN and the allocator, and some to spare."""


def loading_bytes(path: Path, environment: NumericEnvironment) -> int:
    """Memory of the host that `Sampler.load` takes, in bytes; more than was ever measured.

    On a CPU that includes a forward pass of the largest batch. What is wrong with the file does not matter,
    as loading it will report that.

    Raises:
        OSError: it cannot be read.
    """
    weights = _COPIES * path.stat().st_size
    if environment.device != "cpu":
        return weights
    try:
        spec = read_header(path).spec
    except MalformedError:
        return weights
    chosen = plan(environment)
    batch = largest_batch(spec, chosen.largest_bucket)
    halves = 1 if chosen.precision == "bfloat16" else 2
    images = batch * spec.channels * spec.resolution**2 * _FLOAT_BYTES
    one_pass = int(pass_bytes(spec, batch, chosen.largest_bucket)) * halves // 2
    return weights + one_pass + _BATCHES * images + _LIBRARIES_BYTES
