"""The floats and pixels of a seed have the same bits in batches of any size, order and composition."""

from collections.abc import Iterable, Iterator
from itertools import product

import numpy as np
import pytest
from numpy.typing import NDArray

from contract.checkpoint import CheckpointHeader
from contract.devices import Precision
from contract.training import TrainingSpec
from models.environment import NumericEnvironment
from models.sampler import Sampler
from tests.conftest import proof
from tests.trained import ARCHITECTURES, spec_of, trained

POOL = 256
SIZES = range(1, POOL + 1, proof(51, 1))
FEW = proof(32, 64)
FEW_SIZES = (1, 17, 2, 3, 5, 33, 64)[: proof(2, 7)]
NARROW = proof(4, 16)
FORMS = [(*form, NARROW) for form in product((32, 64, 128), (1, 3), (1, 2, 4))][:: proof(8, 1)]
"""Resolution, channels, threads and width."""
OF_DEFAULT_WIDTH = [(64, 3, 1, None), (64, 3, 4, None), (128, 1, 2, None)][: proof(0, 3)]


@pytest.fixture(autouse=True)
def one_thread_afterwards(environment: NumericEnvironment) -> Iterator[None]:
    yield
    environment.apply()


@pytest.mark.timeout(proof(600, 3600))
@pytest.mark.parametrize("precision", ["bfloat16", "float32"])
@pytest.mark.parametrize("kind", ARCHITECTURES)
def test_image_has_the_same_bits_in_any_batch(
    kind: str, precision: Precision, environment: NumericEnvironment
) -> None:
    assert_purity(sampler_of(spec_of(kind, proof(8, 64)), precision, environment), SIZES)


@pytest.mark.timeout(proof(600, 3600))
@pytest.mark.parametrize("precision", ["bfloat16", "float32"])
@pytest.mark.parametrize(("resolution", "channels", "threads", "width"), [*FORMS, *OF_DEFAULT_WIDTH])
@pytest.mark.parametrize("kind", ARCHITECTURES)
def test_images_of_any_form_have_the_same_bits_with_any_number_of_threads(
    kind: str,
    resolution: int,
    channels: int,
    threads: int,
    width: int | None,
    precision: Precision,
    environment: NumericEnvironment,
) -> None:
    spec = spec_of(kind, width, resolution, channels)
    rendering = environment.model_copy(update={"threads": threads})
    assert_purity(sampler_of(spec, precision, rendering), FEW_SIZES, FEW)


def sampler_of(spec: TrainingSpec, precision: Precision, environment: NumericEnvironment) -> Sampler:
    """A sampler of trained weights, for whose threads this process is set up."""
    generator = trained(spec)
    header = CheckpointHeader(job="job_" + "0" * 16, spec=spec, images_seen=spec.images)
    rendering = environment.model_copy(update={"precision": precision})
    rendering.apply()
    return Sampler(generator, header, rendering)


def assert_purity(sampler: Sampler, sizes: Iterable[int], pool: int = POOL) -> None:
    """Assert that random choices of these sizes from a pool of seeds render to the same bits as the pool."""
    seeds = np.random.default_rng(1).integers(0, 2**53, pool)
    floats, pixels = sampler.render_floats(seeds.tolist()), sampler.render(seeds.tolist())
    assert len({image.tobytes() for image in floats}) == pool
    for size in sizes:
        chosen = np.random.default_rng(size).permutation(pool)[:size]
        batch = seeds[chosen].tolist()
        assert differing(floats[chosen], sampler.render_floats(batch)) == 0, size
        assert differing(pixels[chosen], sampler.render(batch)) == 0, size


def differing(expected: NDArray[np.generic], given: NDArray[np.generic]) -> int:
    """The number of images that differ in any bit."""
    return sum(one.tobytes() != other.tobytes() for one, other in zip(expected, given, strict=True))
