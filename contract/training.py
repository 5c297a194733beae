"""The specification of a training job: as requested by a client, and as carried out."""

from collections.abc import Sequence
from typing import Any, Literal, Protocol, Self

from pydantic import ConfigDict, Field, StrictBool, StrictFloat, StrictInt, model_validator

from contract.architectures import Architecture, Dcgan, Pair
from contract.augmentation import DiffAugment
from contract.dataset import ArrayForm, Fit
from contract.devices import PrecisionChoice
from contract.errors import ErrorCode, FieldError, ServiceError
from contract.evaluation import EvaluationParameters
from contract.identifiers import DatasetId
from contract.objectives import R3, NonSaturating, Objective
from contract.plugin import Frozen
from contract.presets import PRESETS, PresetName, describe
from contract.priors import Normal, Prior
from contract.submission import Priority, SubmitterName
from contract.terms import R1, R2, Mmd, Term
from contract.webhook import Webhook

MOST_DEVICES = 64
LEAST_PART = 2
"""Minimum of a device's images in a batch: batch norm needs two."""

MOST_KEPT = 1_000
"""Limit of the checkpoints, previews and evaluations of a run: a job's response lists all its checkpoints."""
_AT_MOST = f"If you set it: at most {MOST_KEPT:,} in a run."

MAX_SEED = 2**53 - 1
"""The largest seed: every JSON reader represents it exactly."""


class TrainingParameters(Frozen):
    """What determines the outcome of a training run, apart from the images. Every field has a default."""

    architecture: Architecture = Field(
        Dcgan(), description='A kind ("dcgan") or an object with its parameters.'
    )
    objective: Objective = Field(NonSaturating(), description="The pair of losses.")
    terms: tuple[Term, ...] = Field(
        (),
        max_length=8,
        fail_fast=True,
        description="Terms added to the losses: kinds, or objects with parameters.",
    )
    augmentation: DiffAugment | None = Field(
        None,
        description="Random changes to all that the discriminator sees: for small datasets.",
    )
    prior: Prior = Field(Normal(), description="The distribution of the latent vectors.")
    fit: Fit = Field("crop", description="How a picture is made square: centre crop, padding or stretching.")
    mirror: StrictBool = Field(default=False, description="Show half of the pictures mirrored left to right.")
    images: StrictInt = Field(
        120_000, ge=1, le=10**10, description="Real images to train on in total; rounded up to whole batches."
    )
    batch_size: StrictInt = Field(32, ge=2, le=4096, description="Images per step; the paper uses 128.")
    generator_learning_rate: StrictFloat = Field(8e-4, gt=0, le=1, description="Adam's; the paper uses 2e-4.")
    discriminator_learning_rate: StrictFloat = Field(
        1e-4, gt=0, le=1, description="Adam's; the paper uses 2e-4."
    )
    learning_rate_decay: StrictFloat = Field(
        0.0,
        ge=0,
        le=1,
        description="Share of the run, at its end, over which both learning rates fall linearly to zero.",
    )
    beta1: StrictFloat = Field(0.5, ge=0, lt=1, description="Adam's decay of the first moment.")
    beta2: StrictFloat = Field(0.999, ge=0, lt=1, description="Adam's decay of the second moment.")
    ema_halflife_images: StrictInt = Field(
        2_000,
        ge=0,
        le=10**9,
        description="Half-life of the generator's moving average; 0 serves the raw weights.",
    )
    precision: PrecisionChoice = Field(
        "auto", description="Arithmetic of the networks; auto uses bfloat16 if the device computes in it."
    )
    evaluation: EvaluationParameters = Field(
        EvaluationParameters(),
        description="How the generator is evaluated, for the record and for the guards.",
    )
    devices: StrictInt = Field(
        1,
        ge=1,
        le=MOST_DEVICES,
        description="GPUs of one trainer (on a CPU, processes) that train together, each on an equal part of"
        " every batch. The job waits for a trainer that owns as many.",
    )
    seed: StrictInt = Field(0, ge=0, le=MAX_SEED, description="Determines everything random in the run.")


def _describe_presets(schema: dict[str, Any]) -> None:
    """In the schema, fields that presets set have no default of their own, which would mislead."""
    for name in sorted(set[str]().union(*(preset.settings(0) for preset in PRESETS.values()))):
        field = schema["properties"][name]
        del field["default"]
        field["description"] += " Default: by preset."


class JobRequest(TrainingParameters):
    """The body of `POST /jobs`. `{"dataset": "ds_…"}` alone trains a good generator."""

    model_config = ConfigDict(json_schema_extra=_describe_presets)

    dataset: DatasetId = Field(description="The dataset to train on, which must be `ready`.")
    preset: PresetName = Field("fast", description=f"Sets what you leave out. {describe()}.")
    name: str | None = Field(None, max_length=200, description="A name for people to read.")
    resolution: StrictInt | None = Field(
        None,
        ge=1,
        le=4096,
        description="Side of the square images: 32, 64 or 128; with dcgan also 256. Default: from the"
        " dataset, up to 64.",
    )
    channels: Literal[1, 3] | None = Field(
        None, description="1 is grey, 3 is colour. Default: from the dataset."
    )
    checkpoint_every_images: StrictInt | None = Field(
        None, ge=1, description=f"Default: a tenth of the run. {_AT_MOST}"
    )
    preview_every_images: StrictInt | None = Field(
        None, ge=1, description=f"Default: a twentieth of the run. {_AT_MOST}"
    )
    priority: Priority = Field(Priority.NORMAL, description="Its place in the queue.")
    submitter: str = SubmitterName
    webhook: Webhook | None = Field(None, description="Who is notified when it has ended.")


class TrainingSpec(TrainingParameters):
    """A resolved request, with no choice left open. Stored as `spec.json`, never changed."""

    format_version: Literal[1] = 1
    dataset: DatasetId
    preset: PresetName
    name: str | None
    resolution: int
    channels: Literal[1, 3]
    checkpoint_every_images: StrictInt = Field(ge=1)
    preview_every_images: StrictInt = Field(ge=1)

    @model_validator(mode="after")
    def _can_be_trained(self) -> Self:
        assert self.resolution in self.architecture.RESOLUTIONS
        assert not _unequal_parts(self.batch_size, self.devices)
        return self

    @property
    def total_images(self) -> int:
        """The images of the whole run, in whole batches."""
        return -(-self.images // self.batch_size) * self.batch_size

    @property
    def form(self) -> ArrayForm:
        """How the run wants its pictures."""
        return ArrayForm(self.resolution, self.channels, self.fit)

    @property
    def part(self) -> "TrainingSpec":
        """One device's part as a job of its own, for counting operations."""
        return self.model_copy(update={"batch_size": self.batch_size // self.devices, "devices": 1})


class DatasetSizes(Protocol):
    """What the defaults depend on: a dataset's manifest, or a summary of it."""

    @property
    def images(self) -> int: ...
    @property
    def held_out_images(self) -> int: ...
    @property
    def channels(self) -> Literal[1, 3]: ...
    @property
    def median_width(self) -> int: ...
    @property
    def median_height(self) -> int: ...


def resolve(request: JobRequest, pictures: DatasetSizes) -> TrainingSpec:
    """Fill in what the request leaves open: explicit fields win over the preset, the preset over defaults.

    Raises:
        ServiceError: `invalid_request` if the architecture does not support the resolution, or has batch norm
            under a loss that judges images alone, if a term is repeated, if the devices cannot share the
            batch evenly, if too much would be kept, or if the generator would never learn.
    """
    preset = PRESETS[request.preset].settings(pictures.images - pictures.held_out_images)
    left_open = {name: value for name, value in preset.items() if name not in request.model_fields_set}
    wanted = request.model_copy(update=left_open)
    _refuse_repeated(wanted.objective, wanted.terms)
    architecture = _settled(wanted.architecture, (wanted.objective, *wanted.terms))
    resolution = wanted.resolution or _default_resolution(architecture, pictures)
    if resolution not in architecture.RESOLUTIONS:
        allowed = ", ".join(map(str, architecture.RESOLUTIONS))
        detail = f"{architecture.kind} supports {allowed} px, not {resolution}; choose one of those."
        raise _refused("/resolution", detail)
    if unequal := _unequal_parts(wanted.batch_size, wanted.devices):
        raise _refused("/devices", unequal)
    spec = TrainingSpec.model_validate(
        {
            **{name: value for name, value in wanted if name in TrainingSpec.model_fields},
            "architecture": architecture,
            "objective": wanted.objective.settled(resolution),
            "terms": tuple(term.settled(resolution) for term in wanted.terms),
            "resolution": resolution,
            "channels": wanted.channels or pictures.channels,
            "checkpoint_every_images": wanted.checkpoint_every_images or max(wanted.images // 10, 1),
            "preview_every_images": wanted.preview_every_images or max(wanted.images // 20, 1),
        }
    )
    require_within_limits(spec)
    return spec


def require_within_limits(spec: TrainingSpec) -> None:
    """Refuse a job that would keep too much, or whose generator would never learn.

    Jobs that were queued before these limits existed are still trained.

    Raises:
        ServiceError: `invalid_request`.
    """
    _require_few(spec)
    _require_a_generators_step(spec)


def _require_few(spec: TrainingSpec) -> None:
    """Refuse a job that would keep too many checkpoints, previews or evaluations."""
    made = {
        "checkpoints": ("checkpoint_every_images", spec.checkpoint_every_images),
        "previews": ("preview_every_images", spec.preview_every_images),
        "evaluations": ("evaluation/every_images", spec.evaluation.every_images or spec.images),
    }
    for what, (field, every) in made.items():
        if spec.images // max(every, spec.batch_size) > MOST_KEPT:
            detail = (
                f"{field} is {every}, so {spec.images} images make more than {MOST_KEPT} {what}; set it to "
                f"{-(-spec.images // MOST_KEPT)} or more."
            )
            raise _refused(f"/{field}", detail)


def _require_a_generators_step(spec: TrainingSpec) -> None:
    """Refuse a job that ends before the generator's first step."""
    steps, batch_size = spec.objective.discriminator_steps, spec.batch_size
    if spec.total_images < steps * batch_size:
        detail = (
            f"images is {spec.images}, too few for a step of the generator: with {spec.objective.kind} it "
            f"learns after every {steps} batches of {batch_size}; set images to "
            f"{(steps - 1) * batch_size + 1} or more, which is rounded up to whole batches."
        )
        raise _refused("/images", detail)


def _refuse_repeated(objective: Objective, terms: Sequence[Term]) -> None:
    """Refuse repeated terms, because losses are distinguished only by name."""
    known = set[str]()
    for index, term in enumerate(terms):
        name = f"mmd on {term.on}" if isinstance(term, Mmd) else term.kind
        if isinstance(objective, R3) and isinstance(term, R1 | R2):
            detail = f"Objective r3 has {name} already; set its gamma instead of adding the term."
            raise _refused(f"/terms/{index}", detail)
        if name in known:
            raise _refused(f"/terms/{index}", f"terms lists {name} more than once; list it once.")
        known.add(name)


def _settled(architecture: Pair, losses: Sequence[Objective | Term]) -> Pair:
    """The architecture with the norm that the losses allow.

    A slope at single images is meaningless if batch norm lets every image change the others' scores.
    """
    alone = [loss.kind for loss in losses if loss.JUDGES_IMAGES_ALONE]
    if alone and architecture.discriminator_norm == "batch":
        detail = (
            "architecture/discriminator_norm is 'batch', which mixes the images of a batch, and "
            f"{' and '.join(alone)} must judge each alone; choose spectral, none or auto, or another loss."
        )
        raise _refused("/architecture/discriminator_norm", detail)
    return architecture.settled(judges_images_alone=bool(alone))


def _unequal_parts(batch_size: int, devices: int) -> str | None:
    """Why a batch cannot be shared evenly among this many devices, if so."""
    if devices == 1 or (batch_size % devices == 0 and batch_size // devices >= LEAST_PART):
        return None
    above = max(-(-batch_size // devices), LEAST_PART) * devices
    return (
        f"A batch of {batch_size} cannot be split evenly over {devices} devices with at least {LEAST_PART} "
        f"images each; set batch_size to a multiple of {devices}, such as {above}."
    )


def _default_resolution(architecture: Pair, pictures: DatasetSizes) -> int:
    side = min(pictures.median_width, pictures.median_height)
    affordable = [made for made in architecture.RESOLUTIONS if made <= 64]
    return next((made for made in affordable if made >= side), affordable[-1])


def _refused(pointer: str, detail: str) -> ServiceError:
    return ServiceError(ErrorCode.INVALID_REQUEST, detail, fields=(FieldError(pointer, detail),))
