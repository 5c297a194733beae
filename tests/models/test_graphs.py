"""CUDA graphs, which need a GPU."""

import pytest
import torch

from models import networks
from models.graphs import Graphs
from models.inference import for_inference, rendering_environment
from tests.trained import spec_of

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")


@torch.inference_mode()
def test_replayed_pass_gives_the_same_bits_and_leaves_earlier_results_unchanged() -> None:
    spec = spec_of("dcgan", width=16)
    environment = rendering_environment("cuda", 1)
    generator = networks.build(spec.architecture, spec.resolution, spec.channels).generator
    generator.initialise(0)
    made = for_inference(generator, environment, environment.precision)
    graphs = Graphs(made)
    dtype = next(made.parameters()).dtype
    for batch in (1, 8, 1):
        one, other = torch.randn(2, batch, made.latent_size, device="cuda", dtype=dtype)
        first = graphs(one)
        assert torch.equal(graphs(other), made(other))
        assert torch.equal(first, made(one))
