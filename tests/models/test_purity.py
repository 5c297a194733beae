"""The floats and pixels of a seed have the same bits in batches of any size, order and composition."""

from collections.abc import Iterable

import numpy as np
import pytest
from numpy.typing import NDArray

from contract.checkpoint import CheckpointHeader
from models.environment import NumericEnvironment
from models.sampler import Sampler
from tests.conftest import proof
from tests.trained import ARCHITECTURES, spec_of, trained

WIDTH = proof(8, 64)
POOL = 256
SIZES = range(1, POOL + 1, proof(51, 1))


@pytest.mark.timeout(proof(600, 3600))
@pytest.mark.parametrize("precision", ["bfloat16", "float32"])
@pytest.mark.parametrize("kind", ARCHITECTURES)
def test_image_has_the_same_bits_in_any_batch(
    kind: str, precision: str, environment: NumericEnvironment
) -> None:
    spec = spec_of(kind, WIDTH)
    header = CheckpointHeader(job="job_" + "0" * 16, spec=spec, images_seen=spec.images)
    rendering = environment.model_copy(update={"precision": precision})
    sampler = Sampler(trained(spec), header, rendering)
    assert_purity(sampler, SIZES)


def assert_purity(sampler: Sampler, sizes: Iterable[int]) -> None:
    """Assert that random choices of these sizes from a pool of seeds render to the same bits as the pool."""
    seeds = np.random.default_rng(1).integers(0, 2**53, POOL)
    floats, pixels = sampler.render_floats(seeds.tolist()), sampler.render(seeds.tolist())
    assert len({image.tobytes() for image in floats}) == POOL
    for size in sizes:
        chosen = np.random.default_rng(size).permutation(POOL)[:size]
        batch = seeds[chosen].tolist()
        assert differing(floats[chosen], sampler.render_floats(batch)) == 0, size
        assert differing(pixels[chosen], sampler.render(batch)) == 0, size


def differing(expected: NDArray[np.generic], given: NDArray[np.generic]) -> int:
    """The number of images that differ in any bit."""
    return sum(one.tobytes() != other.tobytes() for one, other in zip(expected, given, strict=True))
