"""Asks are rendered on a real generator, or refused for reasons that only the generator shows."""

from copy import copy
from typing import Any

import numpy as np
import pytest

from contract.checkpoint import CheckpointHeader
from contract.sampling import CheckpointPlace, SampleOptions, SampleSpec
from contract.training import TrainingSpec
from contract.wire import Ask
from models import networks
from models.environment import detect
from models.sampler import Sampler
from worker.rendering import admit, render

PLACE = CheckpointPlace(job="job_" + "0" * 16, file="generator.safetensors")
DIGEST = "sha256:" + "5" * 64
SIZE = 8


@pytest.fixture(params=["normal"])
def sampler(request: pytest.FixtureRequest) -> Sampler:
    """A generator with this prior."""
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
    environment = detect("cpu", 1, "float32")
    environment.apply()
    header = CheckpointHeader(job=PLACE.job, spec=trained, images_seen=0)
    return Sampler(generator.eval(), header, environment)


def ask(seeds: Any = None, latents: Any = None, chosen: Any = "png", **options: Any) -> Ask:
    """An ask for seeds or latents."""
    asked = SampleOptions.model_validate(options)
    if latents is None:
        spec = SampleSpec.of_seeds(DIGEST, chosen, seeds, asked)
    else:
        spec = SampleSpec.of_latents(DIGEST, chosen, latents, asked)
    return Ask("1", "g0", 0, spec, PLACE)


def test_listed_seeds_give_the_picture_of_each(sampler: Sampler) -> None:
    together = render(sampler, [ask([9, 1, 9, 4])])
    alone = [render(sampler, [ask([seed])]) for seed in (9, 1, 9, 4)]
    assert np.array_equal(together, np.concatenate(alone))


def test_latents_of_seeds_give_the_pictures_of_these_seeds(sampler: Sampler) -> None:
    seeds = [3, 1, 4]
    asked = ask(seeds)
    drawn = sampler.draw(seeds).tolist()
    assert np.array_equal(render(sampler, [ask(latents=drawn)]), render(sampler, [asked]))
    numbers = render(sampler, [ask(seeds, chosen="npz")])
    assert np.array_equal(render(sampler, [ask(latents=drawn, chosen="npz")]), numbers)


def test_truncation_draws_from_the_middle_of_the_prior(sampler: Sampler) -> None:
    asked = ask(range(40), truncation=0.5)
    drawn = sampler.draw(range(40), 0.5)
    assert np.abs(drawn).max() <= 0.6745 < np.abs(sampler.draw(range(40))).max()
    assert np.array_equal(render(sampler, [asked]), sampler.render_latents(drawn))


def along(ends: tuple[int, int], count: int = 1, *, at: float | None = None, truncation: float = 1.0) -> Ask:
    """An ask for points on a path."""
    asked = SampleOptions(truncation=truncation)
    return Ask("1", "g0", 0, SampleSpec.of_path(DIGEST, "png", ends, asked, count=count, at=at), PLACE)


@pytest.mark.parametrize(
    "sampler", ["normal", "uniform", "bernoulli", "exponential", "poisson", "truncated_normal"], indirect=True
)
def test_path_leads_from_seed_to_seed_through_points_that_can_be_had_alone(sampler: Sampler) -> None:
    tiles = render(sampler, [along((7, 4), 5)])
    assert np.array_equal(tiles[[0, 4]], render(sampler, [ask([7, 4])]))
    alone = [render(sampler, [along((7, 4), at=way)]) for way in (0.0, 0.25, 0.5, 0.75, 1.0)]
    assert np.array_equal(tiles, np.concatenate(alone))
    assert not np.array_equal(tiles[0], tiles[2])


def test_tile_of_a_path_is_the_picture_of_its_own_spec(sampler: Sampler) -> None:
    path = along((7, 4), 7, truncation=0.5)
    each = [Ask("1", "g0", 0, spec, PLACE) for spec in path.spec.tiles()]
    assert np.array_equal(render(sampler, [path]), np.concatenate([render(sampler, [one]) for one in each]))


def test_path_turns_on_an_arc(sampler: Sampler) -> None:
    """A straight line would pass nearer to the middle, where a normal prior has hardly any latents."""
    start, middle, end = sampler.draw_paths([(7, 4)], [[0, 0.5, 1]])
    assert np.allclose(middle, (start + end) / np.sqrt(2), atol=1e-6)


def test_asks_rendered_together_get_the_same_images_as_alone(sampler: Sampler) -> None:
    latents = np.random.default_rng(0).normal(size=(5, SIZE)).tolist()
    for portion in (
        [ask(latents=latents[:2]), ask(latents=latents[2:])],
        [ask([7, 5], truncation=0.5), ask([1, 2], truncation=0.5)],
        [along((7, 5), 3), along((1, 2), 2)],
        [along((7, 5), at=0.3), along((1, 2), at=0.4)],
    ):
        alone = [render(sampler, [one]) for one in portion]
        assert np.array_equal(render(sampler, portion), np.concatenate(alone))


@pytest.mark.parametrize("sampler", ["bernoulli"], indirect=True)
def test_truncation_of_a_prior_of_two_values_is_refused(sampler: Sampler) -> None:
    fine, truncated = ask([7]), ask([7], truncation=0.5)
    welcome, [(refused, refusal)] = admit(sampler, [fine, truncated])
    assert (welcome, refused) == ([fine], truncated)
    assert refusal.pointer == "truncation"
    assert "bernoulli" in refusal.detail


@pytest.mark.parametrize(
    "sampler", ["normal", "uniform", "exponential", "poisson", "truncated_normal"], indirect=True
)
def test_truncation_narrows_every_other_prior(sampler: Sampler) -> None:
    asked = ask(range(40), truncation=0.5)
    assert admit(sampler, [asked]) == ([asked], [])
    assert sampler.draw(range(40), 0.5).std() < sampler.draw(range(40)).std()


def test_arrays_are_bounded_in_bytes(sampler: Sampler) -> None:
    size = {"resolution": 128, "channels": 3}
    large = copy(sampler)
    large.header = sampler.header.model_copy(update={"spec": sampler.header.spec.model_copy(update=size)})
    fits, pictures, too_many = ask(range(273), chosen="npz"), ask(range(1024)), ask(range(274), chosen="npz")
    welcome, [(refused, refusal)] = admit(large, [fits, pictures, too_many])
    assert (welcome, refused) == ([fits, pictures], too_many)
    assert refusal.pointer == "count"
    assert "Ask for 273 at most at a time" in refusal.detail


def test_latents_of_the_wrong_length_are_refused_with_the_right_one(sampler: Sampler) -> None:
    wrong = ask(latents=[[0.5] * (SIZE + 1)])
    welcome, [(_, refusal)] = admit(sampler, [wrong, ask(latents=[[0.5] * SIZE])])
    assert len(welcome) == 1
    assert refusal.pointer == "latents"
    assert f"{SIZE + 1} numbers each, and this generator takes {SIZE}" in refusal.detail


def test_only_pictures_that_would_be_too_large_are_refused(sampler: Sampler) -> None:
    row = range(1024)
    fits = ask(row, scale=4)
    too_large = [
        ask(row, scale=5),
        ask(row, scale=4, padding=1),
        ask(row, chosen="webp", columns=1),
        ask(row, chosen="json", scale=5),
    ]
    welcome, refused = admit(sampler, [fits, *too_large])
    assert welcome == [fits]
    assert [asked for asked, _ in refused] == too_large
    assert [refusal.pointer for _, refusal in refused] == ["count", "count", "columns", "count"]
    assert "1 × 5120 × 5120 pixels" in refused[0][1].detail
