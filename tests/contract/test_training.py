"""How a request for a job is resolved with its dataset."""

import pytest

from contract.augmentation import DiffAugment
from contract.dataset import Manifest
from contract.errors import ErrorCode, ServiceError
from contract.presets import PRESETS, PresetName, augmentation_strength
from contract.terms import R1
from contract.training import JobRequest, TrainingSpec, resolve

DATASET = "ds_" + "0" * 16


def manifest(images: int = 5000, side: int = 28) -> Manifest:
    return Manifest(
        id=DATASET,
        images=images,
        held_out_images=images // 20,
        channels=1,
        median_width=side,
        median_height=side + 1,
        content_hash="0" * 64,
    )


def request(**fields: object) -> JobRequest:
    return JobRequest.model_validate({"dataset": DATASET, **fields})


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("resolution", [32, 64, 128])
@pytest.mark.parametrize("channels", [1, 3])
def test_preset_works_at_every_size(preset: str, resolution: int, channels: int) -> None:
    spec = resolve(request(preset=preset, resolution=resolution, channels=channels), manifest())
    assert (spec.preset, spec.resolution, spec.channels) == (preset, resolution, channels)


def test_explicit_fields_win_over_the_preset() -> None:
    assert resolve(request(preset="wgan-gp", batch_size=8), manifest()).batch_size == 8


@pytest.mark.parametrize(("devices", "batch_size", "advised"), [(3, 32, 33), (2, 2, 4), (64, 32, 128)])
def test_devices_that_cannot_share_a_batch_are_refused(devices: int, batch_size: int, advised: int) -> None:
    with pytest.raises(ServiceError) as refusal:
        resolve(request(devices=devices, batch_size=batch_size), manifest())
    assert [field.pointer for field in refusal.value.fields] == ["/devices"]
    assert f"multiple of {devices}, such as {advised}." in refusal.value.detail
    assert resolve(request(devices=devices, batch_size=advised), manifest()).devices == devices


@pytest.mark.parametrize("made", ["checkpoint", "preview"])
def test_more_than_a_thousand_checkpoints_or_previews_are_refused(made: str) -> None:
    field = f"{made}_every_images"
    with pytest.raises(ServiceError, match=f"{field} is 1, .* set it to 101 or more") as refusal:
        resolve(request(images=100_010, **{field: 1}), manifest())
    assert [it.pointer for it in refusal.value.fields] == [f"/{field}"]
    assert resolve(request(images=100_010, **{field: 101}), manifest())


def test_more_than_a_thousand_evaluations_are_refused() -> None:
    with pytest.raises(ServiceError, match="1000 evaluations; set it to 101 or more") as refusal:
        resolve(request(images=100_010, evaluation={"every_images": 1}), manifest())
    assert [it.pointer for it in refusal.value.fields] == ["/evaluation/every_images"]
    assert resolve(request(images=100_010, evaluation={"every_images": 101}), manifest())


def test_intervals_shorter_than_a_batch_count_as_one_batch() -> None:
    often = {"checkpoint_every_images": 1, "preview_every_images": 1}
    assert resolve(request(images=32_000, batch_size=32, **often), manifest())
    with pytest.raises(ServiceError):
        resolve(request(images=32_032, batch_size=32, **often), manifest())


@pytest.mark.parametrize("images", [1, 999, 10**10])
def test_default_intervals_stay_within_the_limits(images: int) -> None:
    assert resolve(request(images=images, batch_size=2), manifest())


def test_stored_spec_with_too_many_checkpoints_can_still_be_read() -> None:
    stored = resolve(request(images=10**6), manifest()).model_dump(mode="json")
    assert TrainingSpec.model_validate({**stored, "checkpoint_every_images": 1})


@pytest.mark.parametrize(
    ("chosen", "fewest"),
    [
        ({"preset": "wgan-gp"}, 4 * 64 + 1),
        ({"preset": "wgan-gp", "devices": 2}, 4 * 64 + 1),  # which share each batch
        ({"objective": {"kind": "wgan_gp", "critic_steps": 20}, "batch_size": 8}, 19 * 8 + 1),
        ({"objective": {"kind": "wgan_gp", "critic_steps": 2}, "batch_size": 2}, 3),
    ],
)
def test_run_that_ends_before_the_generators_first_step_is_refused(
    chosen: dict[str, object], fewest: int
) -> None:
    for images in (1, fewest - 1):
        with pytest.raises(ServiceError, match=f"set images to {fewest} or more") as refusal:
            resolve(request(images=images, **chosen), manifest())
        assert [it.pointer for it in refusal.value.fields] == ["/images"]
    assert resolve(request(images=fewest, **chosen), manifest()).images == fewest


@pytest.mark.parametrize(
    "objective",
    ["minimax", "non_saturating", "least_squares", "hinge", "r3", {"kind": "wgan_gp", "critic_steps": 1}],
)
def test_one_image_trains_a_generator_that_learns_in_every_step(objective: object) -> None:
    assert resolve(request(images=1, objective=objective), manifest()).total_images == 32


def test_stored_spec_that_never_trains_its_generator_can_still_be_read() -> None:
    stored = resolve(request(preset="wgan-gp"), manifest()).model_dump(mode="json")
    assert TrainingSpec.model_validate({**stored, "images": 256}).images == 256


def test_preset_wins_over_the_default_of_a_field() -> None:
    assert resolve(request(preset="wgan-gp"), manifest()).objective.kind == "wgan_gp"


def test_every_preset_is_described_in_the_request_schema() -> None:
    described = JobRequest.model_json_schema()["properties"]["preset"]["description"]
    assert all(f"`{name}`: {preset.description}" in described for name, preset in PRESETS.items())


@pytest.mark.parametrize("preset", PRESETS)
def test_request_schema_has_no_default_that_a_preset_replaces(preset: PresetName) -> None:
    fields = JobRequest.model_json_schema()["properties"]
    for name in PRESETS[preset].settings(1000):
        assert "default" not in fields[name]
        assert fields[name]["description"].endswith("Default: by preset.")
    assert fields["prior"]["default"] == {"kind": "normal"}


@pytest.mark.parametrize(("side", "resolution"), [(20, 32), (32, 32), (33, 64), (900, 64)])
def test_default_resolution_follows_from_the_median_picture(side: int, resolution: int) -> None:
    assert resolve(request(), manifest(side=side)).resolution == resolution


@pytest.mark.parametrize(("images", "strength"), [(100, 1.0), (500, 1.0), (3162, 0.5), (20_000, 0.0)])
def test_augmentation_weakens_as_the_number_of_pictures_grows(images: int, strength: float) -> None:
    assert augmentation_strength(images) == strength


@pytest.mark.parametrize(
    ("losses", "norm"),
    [
        ({"objective": "hinge"}, "batch"),
        ({"objective": "wgan_gp"}, "none"),
        ({"objective": "r3"}, "none"),
        ({"terms": ["mmd", "r1"]}, "none"),
        ({"preset": "wgan-gp"}, "none"),
    ],
)
def test_default_norm_follows_from_the_losses(losses: dict[str, object], norm: str) -> None:
    assert resolve(request(**losses), manifest()).architecture.discriminator_norm == norm


@pytest.mark.parametrize("norm", ["batch", "spectral", "none"])
def test_chosen_norm_is_kept(norm: str) -> None:
    asked = request(architecture={"kind": "dcgan", "discriminator_norm": norm})
    assert resolve(asked, manifest()).architecture.discriminator_norm == norm


@pytest.mark.parametrize("losses", [{"objective": "wgan_gp"}, {"terms": ["r2"]}, {"preset": "wgan-gp"}])
def test_batch_norm_is_refused_if_a_loss_scores_images_individually(losses: dict[str, object]) -> None:
    asked = request(architecture={"kind": "dcgan", "discriminator_norm": "batch"}, **losses)
    with pytest.raises(ServiceError, match="choose spectral, none or auto") as refusal:
        resolve(asked, manifest())
    assert refusal.value.code is ErrorCode.INVALID_REQUEST
    assert [field.pointer for field in refusal.value.fields] == ["/architecture/discriminator_norm"]


@pytest.mark.parametrize(
    ("losses", "repeated"),
    [
        ({"terms": ["r1", "mmd", {"kind": "r1", "gamma": 1}]}, 2),
        ({"terms": ["weight_penalty", "weight_penalty"]}, 1),
        ({"terms": ["mmd", {"kind": "mmd", "on": "features", "weight": 1}]}, 1),
        ({"objective": "r3", "terms": ["r1"]}, 0),
        ({"objective": "r3", "terms": ["mmd", "r2"]}, 1),
    ],
)
def test_duplicate_term_is_refused(losses: dict[str, object], repeated: int) -> None:
    with pytest.raises(ServiceError) as refusal:
        resolve(request(**losses), manifest())
    assert [field.pointer for field in refusal.value.fields] == [f"/terms/{repeated}"]


@pytest.mark.parametrize(("resolution", "gamma"), [(32, 0.05), (64, 1), (128, 20), (256, 150)])
def test_default_weight_of_a_gradient_penalty_follows_from_the_resolution(
    resolution: int, gamma: float
) -> None:
    (r1, r2) = resolve(request(resolution=resolution, terms=["r1", "r2"]), manifest()).terms
    r3 = resolve(request(resolution=resolution, objective="r3"), manifest()).objective
    assert [loss.model_dump()["gamma"] for loss in (r1, r2, r3)] == [gamma] * 3


def test_chosen_weight_of_a_gradient_penalty_is_kept() -> None:
    (r1,) = resolve(request(resolution=128, terms=[{"kind": "r1", "gamma": 0.05}]), manifest()).terms
    assert r1 == R1(gamma=0.05)


def test_terms_with_different_names_can_be_combined() -> None:
    terms = ["r1", "r2", "mmd", {"kind": "mmd", "on": "pixels"}, "weight_penalty"]
    assert len(resolve(request(terms=terms), manifest()).terms) == 5


def test_stored_spec_with_a_repeated_term_can_still_be_read() -> None:
    stored = resolve(request(objective="r3"), manifest()).model_dump(mode="json")
    assert TrainingSpec.model_validate({**stored, "terms": [{"kind": "r1"}, {"kind": "r1"}]}).terms


@pytest.mark.parametrize("preset", PRESETS)
def test_learning_rates_decay_unless_a_paper_or_the_article_says_otherwise(preset: str) -> None:
    falls = resolve(request(preset=preset), manifest()).learning_rate_decay
    assert falls == (0 if preset in ("article", "wgan-gp") else 0.5)


@pytest.mark.parametrize("preset", ["fast", "quality", "small-data"])
def test_preset_augments_only_small_datasets(preset: str) -> None:
    few, many = (resolve(request(preset=preset), manifest(images)) for images in (400, 50_000))
    assert few.augmentation == DiffAugment(strength=1.0)
    assert many.augmentation is None


@pytest.mark.parametrize("preset", ["fast", "small-data"])
def test_preset_gives_a_narrow_discriminator_a_higher_learning_rate(preset: str) -> None:
    spec = resolve(request(preset=preset), manifest())
    assert spec.architecture.generator_width == 2 * spec.architecture.discriminator_width == 64
    assert spec.discriminator_learning_rate == 2e-4


def test_quality_preset_trains_a_full_width_discriminator() -> None:
    spec = resolve(request(preset="quality"), manifest())
    assert (spec.architecture.discriminator_width, spec.discriminator_learning_rate) == (64, 1e-4)


def test_explicit_architecture_uses_its_own_defaults_instead_of_the_presets() -> None:
    assert resolve(request(architecture="dcgan"), manifest()).architecture.discriminator_width == 64


def test_augmentation_of_a_preset_can_be_turned_off() -> None:
    asked = request(preset="small-data", augmentation={"strength": 0})
    assert resolve(asked, manifest(400)).augmentation == DiffAugment(strength=0)


def test_null_augmentation_wins_over_the_preset() -> None:
    assert resolve(request(preset="small-data", augmentation=None), manifest(400)).augmentation is None


@pytest.mark.parametrize(
    "field", ["name", "resolution", "channels", "checkpoint_every_images", "preview_every_images"]
)
def test_null_in_other_fields_means_the_default(field: str) -> None:
    assert resolve(request(**{field: None}), manifest()) == resolve(request(), manifest())
