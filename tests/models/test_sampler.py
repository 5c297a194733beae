import io
import weakref
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from contract.checkpoint import CheckpointHeader
from contract.errors import ErrorCode, ServiceError
from contract.training import MAX_SEED, TrainingSpec
from models import networks
from models.checkpoint import load_checkpoint, save_checkpoint
from models.environment import NumericEnvironment, detect
from models.networks.pair import Generator
from models.previews import preview
from models.sampler import Sampler, parts, renderer
from tests.conftest import proof
from tests.models.checkpoints import write

MakeSpec = Callable[..., TrainingSpec]
JOB = "job_" + "0" * 16
BUCKETS = (1, 2, 4, 8, 16, 32, 64)


def fresh_generator(spec: TrainingSpec) -> Generator:
    generator = networks.build(spec.architecture, spec.resolution, spec.channels).generator
    generator.initialise(0)
    return generator.eval()


@pytest.fixture(
    scope="module",
    params=[
        ("dcgan", 32, 1, "float32"),
        ("dcgan", 64, 3, "bfloat16"),
        ("dcgan_fc", 32, 3, "float32"),
        ("resnet", 32, 3, "float32"),
        ("resnet", 32, 3, "bfloat16"),
    ],
    ids=str,
)
def sampler(request: pytest.FixtureRequest, make_spec: MakeSpec, environment: NumericEnvironment) -> Sampler:
    kind, resolution, channels, precision = request.param
    environment = environment.model_copy(update={"precision": precision})
    architecture = {"kind": kind, "latent_size": 8, "generator_width": 4}
    spec = make_spec(architecture=architecture, resolution=resolution, channels=channels)
    return Sampler(fresh_generator(spec), CheckpointHeader(job=JOB, spec=spec, images_seen=0), environment)


def test_pixels_have_channels_last_and_one_row_per_seed(sampler: Sampler) -> None:
    spec = sampler.header.spec
    pixels = sampler.render([1, 2, 3])
    assert pixels.dtype == np.uint8
    assert pixels.shape == (3, spec.resolution, spec.resolution, spec.channels)


def test_cost_of_an_image_is_measured_when_the_generator_is_loaded(
    spec: TrainingSpec, environment: NumericEnvironment, monkeypatch: pytest.MonkeyPatch
) -> None:
    seconds, forward = [0.0], Sampler._forward

    def take_three_seconds_each(sampler: Sampler, drawn: Tensor) -> Tensor:
        seconds[0] += 3.0 * len(drawn)
        return forward(sampler, drawn)

    monkeypatch.setattr(Sampler, "_forward", take_three_seconds_each)
    monkeypatch.setattr("models.sampler.time", SimpleNamespace(perf_counter=lambda: seconds[0]))
    header = CheckpointHeader(job=JOB, spec=spec, images_seen=0)
    assert Sampler(fresh_generator(spec), header, environment).seconds_each == 3.0


def test_image_is_the_same_alone_and_in_any_batch(sampler: Sampler) -> None:
    """For generators of every family, trained and wider: `test_purity.py`."""
    seeds = [MAX_SEED - index * 7919 for index in range(64)]
    alone = np.concatenate([sampler.render_floats([seed]) for seed in seeds])
    for size in (1, 2, 3, 57, *range(4, 65, proof(20, 1))):
        assert np.array_equal(sampler.render_floats(seeds[:size]), alone[:size]), size
        assert np.array_equal(sampler.render_floats(seeds[-size:]), alone[-size:]), size


def test_requests_may_be_larger_than_the_largest_bucket(sampler: Sampler) -> None:
    assert np.array_equal(sampler.render(range(150))[149], sampler.render([149])[0])


@pytest.mark.parametrize(("seconds_each", "largest"), [(0.25 / 64, 64), (0.03, 8), (0.25, 1), (9.0, 1)])
def test_slow_generators_render_in_smaller_batches(
    sampler: Sampler, monkeypatch: pytest.MonkeyPatch, seconds_each: float, largest: int
) -> None:
    """With the same images, and in batches of no size that does not give them."""
    expected = sampler.render_floats(range(128))
    monkeypatch.setattr(sampler, "seconds_each", seconds_each)
    used = max((bucket for bucket in sampler.buckets if bucket <= largest), default=sampler.buckets[0])
    assert sampler.passes(128) == 128 // used
    assert np.array_equal(sampler.render_floats(range(128)), expected)


def test_no_seeds_give_no_images(sampler: Sampler) -> None:
    assert len(sampler.render([])) == 0


def test_different_seeds_give_different_images(sampler: Sampler) -> None:
    one, other = sampler.render_floats([0, 1])
    assert not np.array_equal(one, other)


def test_sampler_detects_that_its_generator_gives_different_images(sampler: Sampler) -> None:
    assert sampler.still_works()
    bias = next(bias for bias in sampler._generator.state_dict().values() if bias.ndim == 1)
    before = bias.clone()
    with torch.no_grad():
        bias.add_(0.1)
        is_noticed = not sampler.still_works()
        bias.copy_(before)
    assert is_noticed
    assert sampler.still_works()


@pytest.mark.parametrize("buckets", [BUCKETS, (4, 8, 16), (2, 32)])
@pytest.mark.parametrize("most_padding", [0, 1 / 8, 1])
def test_parts_add_up_fit_a_bucket_and_need_little_padding(
    buckets: tuple[int, ...], most_padding: float
) -> None:
    for count in range(200):
        cut = parts(count, buckets, most_padding)
        assert sum(cut) == count
        assert all(0 < part <= buckets[-1] for part in cut)
        for part in cut:
            bucket = next(bucket for bucket in buckets if bucket >= part)
            assert bucket - part <= most_padding * bucket or bucket == buckets[0]


@pytest.mark.parametrize(
    ("count", "cut"), [(1, [1]), (48, [32, 16]), (57, [57]), (64, [64]), (150, [64, 64, 16, 4, 2])]
)
def test_parts_are_full_or_nearly_full_batches(count: int, cut: list[int]) -> None:
    assert parts(count, BUCKETS, 1 / 8) == cut


class Moody(Generator):
    """A generator whose floats differ in the last place in batches of some sizes, or at one position."""

    latent_size = 8

    def __init__(self, sizes: set[int], position: slice) -> None:
        super().__init__()
        self.sizes = sizes
        self.position = position

    def forward(self, latents: Tensor) -> Tensor:
        images = latents[:, :3, None, None].tanh().repeat(1, 1, 32, 32)
        if len(latents) in self.sizes:
            images[self.position] *= 1 + 2**-22
        return images


@pytest.mark.parametrize(
    ("sizes", "position", "trusted"),
    [
        (set(), slice(None), BUCKETS),
        ({1, 2}, slice(None), (4, 8, 16, 32, 64)),
        ({64}, slice(0, 1), (1, 2, 4, 8, 16, 32)),
        ({16}, slice(7, 8), (1, 2, 4, 8, 32, 64)),
    ],
)
def test_bucket_that_disagrees_is_not_used(
    sizes: set[int],
    position: slice,
    trusted: tuple[int, ...],
    make_spec: MakeSpec,
    environment: NumericEnvironment,
) -> None:
    header = CheckpointHeader(job=JOB, spec=make_spec(), images_seen=0)
    sampler = Sampler(Moody(sizes, position), header, environment)
    assert sampler.buckets == trusted
    alone = np.concatenate([sampler.render_floats([seed]) for seed in range(70)])
    assert np.array_equal(sampler.render_floats(range(70)), alone)


class Subtle(Generator):
    """A generator whose images differ in batches of some sizes, but only for every sixteenth seed or so."""

    latent_size = 8

    def __init__(self, sizes: set[int]) -> None:
        super().__init__()
        self.sizes = sizes

    def forward(self, latents: Tensor) -> Tensor:
        images = latents[:, :3, None, None].tanh().repeat(1, 1, 32, 32)
        if len(latents) in self.sizes:
            images[latents[:, 0] > 1.5] *= 1.5
        return images


@pytest.mark.parametrize("sizes", [{1}, {2}, {8}, {32}], ids=str)
def test_bucket_that_differs_in_few_bfloat16_images_is_not_used(
    sizes: set[int], make_spec: MakeSpec, environment: NumericEnvironment
) -> None:
    header = CheckpointHeader(job=JOB, spec=make_spec(), images_seen=0)
    rendering = environment.model_copy(update={"precision": "bfloat16"})
    assert Sampler(Subtle(sizes), header, rendering).buckets == tuple(sorted({*BUCKETS} - sizes))


def test_generator_whose_images_are_not_finite_is_refused(
    tmp_path: Path, environment: NumericEnvironment
) -> None:
    path = tmp_path / "generator.safetensors"
    generator, header = load_checkpoint(write(path)[0])
    generator.state_dict()["layers.9.weight"].view(-1)[0] = 3.4e38  # rounds to infinity in bfloat16
    digest = save_checkpoint(generator, header, path)
    assert Sampler.load(path, digest, environment).buckets == BUCKETS
    with pytest.raises(ServiceError, match="not finite in bfloat16") as refusal:
        Sampler.load(path, digest, environment.model_copy(update={"precision": "bfloat16"}))
    assert refusal.value.code is ErrorCode.CHECKPOINT_UNREADABLE


def test_number_that_is_none_becomes_zero(tmp_path: Path, environment: NumericEnvironment) -> None:
    """Latents of a client may be further out than all that was tested when the generator was loaded."""
    generator, header = load_checkpoint(write(tmp_path / "generator.safetensors")[0])
    weights = generator.state_dict()
    weights["layers.0.weight"].mul_(1e4)
    weights["layers.9.weight"].sign_().mul_(1e36)
    sampler = Sampler(generator, header, environment)
    far = np.full((2, 8), 100, dtype=np.float32)
    is_none = sampler._images(far).isnan().numpy()  # (2, 1, R, R)
    assert is_none.any()
    assert not sampler.render_latent_floats(far)[is_none].any()
    assert set(sampler.render_latents(far).transpose(0, 3, 1, 2)[is_none]) == {128}


class Watched(Generator):
    """A generator that counts, at every call, how many of its earlier outputs are still in memory."""

    latent_size = 8

    def __init__(self) -> None:
        super().__init__()
        self.outputs: list[weakref.ref[NDArray[np.float32]]] = []
        self.most_kept = 0

    def __deepcopy__(self, memo: object) -> "Watched":
        return self

    def forward(self, latents: Tensor) -> Tensor:
        self.most_kept = max(self.most_kept, sum(output() is not None for output in self.outputs))
        images = np.zeros((len(latents), 3, 32, 32), dtype=np.float32)
        self.outputs.append(weakref.ref(images))
        return torch.from_numpy(images)


def test_at_most_one_bucket_of_floats_is_in_memory(
    make_spec: MakeSpec, environment: NumericEnvironment
) -> None:
    generator = Watched()
    sampler = Sampler(generator, CheckpointHeader(job=JOB, spec=make_spec(), images_seen=0), environment)
    generator.most_kept = 0
    assert sampler.render(range(1024)).shape == (1024, 32, 32, 3)
    assert generator.most_kept <= 1


def test_loading_checks_the_digest(
    spec: TrainingSpec, environment: NumericEnvironment, tmp_path: Path
) -> None:
    path = tmp_path / "generator.safetensors"
    header = CheckpointHeader(job=JOB, spec=spec, images_seen=0)
    digest = save_checkpoint(fresh_generator(spec), header, path)
    loaded = Sampler.load(path, digest, environment).render([7])
    assert np.array_equal(loaded, Sampler(fresh_generator(spec), header, environment).render([7]))
    with pytest.raises(ServiceError):
        Sampler.load(path, "sha256:" + "0" * 64, environment)


def test_renderer_names_what_the_bytes_depend_on(environment: NumericEnvironment) -> None:
    assert renderer(environment) != renderer(detect("cpu", environment.threads + 1, "float32"))
    assert torch.__version__ in renderer(environment)


@pytest.mark.parametrize("channels", [1, 3])
def test_preview_shows_the_images_of_the_first_seeds(
    channels: int, make_spec: MakeSpec, environment: NumericEnvironment
) -> None:
    spec = make_spec(channels=channels)
    generator = fresh_generator(spec)
    header = CheckpointHeader(job=JOB, spec=spec, images_seen=0)
    tiles = Sampler(generator, header, environment).render(range(6))
    sheet = np.asarray(Image.open(io.BytesIO(preview(generator, spec, environment, count=6))))
    assert sheet.shape[:2] == (64, 96)  # two rows of three
    shown = sheet.reshape(2, 32, 3, 32, channels).swapaxes(1, 2).reshape(6, 32, 32, channels)
    assert np.abs(shown.astype(int) - tiles).max() <= 1
