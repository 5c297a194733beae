"""What asks come to on a real generator, and what only somebody who knows it can object to."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from contract.checkpoint import CheckpointHeader
from contract.errors import ErrorCode
from contract.sampling import CheckpointPlace, SampleOptions, SampleSpec
from contract.training import TrainingSpec
from contract.volume import Volume
from contract.wire import Ask
from models import networks
from models.checkpoint import save_checkpoint
from models.environment import detect
from worker.engine import Engine
from worker.rendering import admit, render

PLACE = CheckpointPlace(job="job_" + "0" * 16, file="generator.safetensors")
SIZE = 8

Asking = Callable[..., Ask]


@pytest.fixture
def engine(volume: Volume) -> Engine:
    environment = detect("cpu", 1, "float32")
    environment.apply()
    return Engine(volume, environment, 2**30)


@pytest.fixture(params=["normal"])
def ask(request: pytest.FixtureRequest, volume: Volume) -> Asking:
    """Asks a generator of this prior for seeds or latents."""
    architecture = {"kind": "dcgan", "latent_size": SIZE, "generator_width": 4, "discriminator_width": 4}
    trained = TrainingSpec.model_validate(
        {
            "dataset": "ds_" + "0" * 16,
            "preset": "fast",
            "name": None,
            "architecture": architecture,
            "prior": request.param,
            "resolution": 32,
            "channels": 1,
            "checkpoint_every_images": 8,
            "preview_every_images": 8,
        }
    )
    generator = networks.build(trained.architecture, trained.resolution, trained.channels).generator
    generator.initialise(0)
    header = CheckpointHeader(job=PLACE.job, spec=trained, images_seen=0)
    digest = save_checkpoint(generator, header, volume.checkpoint(PLACE.job, PLACE.file))

    def asking(seeds: Any = None, latents: Any = None, chosen: Any = "png", **options: Any) -> Ask:
        asked = SampleOptions.model_validate(options)
        if latents is None:
            spec = SampleSpec.of_seeds(digest, chosen, seeds, asked)
        else:
            spec = SampleSpec.of_latents(digest, chosen, latents, asked)
        return Ask("1", "g0", 0, spec, PLACE)

    return asking


def test_listed_seeds_are_the_pictures_of_each(engine: Engine, ask: Asking) -> None:
    together = render(engine, [ask([9, 1, 9, 4])])
    alone = [render(engine, [ask([seed])]) for seed in (9, 1, 9, 4)]
    assert np.array_equal(together, np.concatenate(alone))


def test_latents_of_seeds_are_the_pictures_of_these_seeds(engine: Engine, ask: Asking) -> None:
    seeds = [3, 1, 4]
    asked = ask(seeds)
    drawn = engine.sampler(asked.spec.digest, PLACE).draw(seeds).tolist()
    assert np.array_equal(render(engine, [ask(latents=drawn)]), render(engine, [asked]))
    numbers = render(engine, [ask(seeds, chosen="npz")])
    assert np.array_equal(render(engine, [ask(latents=drawn, chosen="npz")]), numbers)


def test_truncation_draws_from_the_middle(engine: Engine, ask: Asking) -> None:
    asked = ask(range(40), truncation=0.5)
    sampler = engine.sampler(asked.spec.digest, PLACE)
    drawn = sampler.draw(range(40), 0.5)
    assert np.abs(drawn).max() <= 0.6745 < np.abs(sampler.draw(range(40))).max()
    assert np.array_equal(render(engine, [asked]), sampler.render_latents(drawn))


def test_asks_that_are_kin_get_what_each_would_alone(engine: Engine, ask: Asking) -> None:
    latents = np.random.default_rng(0).normal(size=(5, SIZE)).tolist()
    for portion in (
        [ask(latents=latents[:2]), ask(latents=latents[2:])],
        [ask([7, 5], truncation=0.5), ask([1, 2], truncation=0.5)],
    ):
        alone = [render(engine, [one]) for one in portion]
        assert np.array_equal(render(engine, portion), np.concatenate(alone))


@pytest.mark.parametrize("ask", ["bernoulli"], indirect=True)
def test_prior_of_two_values_has_no_middle(engine: Engine, ask: Asking) -> None:
    fine, truncated = ask([7]), ask([7], truncation=0.5)
    welcome, [(refused, refusal)] = admit(engine, [fine, truncated])
    assert (welcome, refused) == ([fine], truncated)
    assert refusal.code is ErrorCode.INVALID_REQUEST
    assert "bernoulli" in refusal.detail


@pytest.mark.parametrize(
    "ask", ["normal", "uniform", "exponential", "poisson", "truncated_normal"], indirect=True
)
def test_every_other_prior_has_one(engine: Engine, ask: Asking) -> None:
    asked = ask(range(40), truncation=0.5)
    assert admit(engine, [asked]) == ([asked], [])
    sampler = engine.sampler(asked.spec.digest, PLACE)
    assert sampler.draw(range(40), 0.5).std() < sampler.draw(range(40)).std()


def test_latents_of_another_length_are_refused_with_the_right_one(engine: Engine, ask: Asking) -> None:
    wrong = ask(latents=[[0.5] * (SIZE + 1)])
    welcome, [(_, refusal)] = admit(engine, [wrong, ask(latents=[[0.5] * SIZE])])
    assert len(welcome) == 1
    assert f"{SIZE + 1} numbers each, and this generator takes {SIZE}" in refusal.detail


def test_picture_that_would_be_too_large_is_refused_alone(engine: Engine, ask: Asking) -> None:
    row = range(1024)
    fits = ask(row, scale=4)
    too_large = [
        ask(row, scale=5),
        ask(row, scale=4, padding=1),
        ask(row, chosen="webp", columns=1),
        ask(row, chosen="json", scale=5),
    ]
    welcome, refused = admit(engine, [fits, *too_large])
    assert welcome == [fits]
    assert [asked for asked, _ in refused] == too_large
    assert all(refusal.code is ErrorCode.INVALID_REQUEST for _, refusal in refused)
    assert "1 × 5120 × 5120 pixels" in refused[0][1].detail
