"""Estimates of what a job would take, before it is queued: the gateway's request, a trainer's answer."""

from typing import Literal

from pydantic import Field

from contract.devices import Device, Precision
from contract.job import Failure
from contract.plugin import Frozen
from contract.trainers import TrainerAnswer, TrainerAsk
from contract.training import TrainingSpec

EstimateBasis = Literal["trained", "measured", "extrapolated", "unknown"]


class MemoryEstimate(Frozen):
    """The memory that training would take, beyond the program itself, and what there is for it."""

    needed_bytes: int = Field(
        description="At the peak: an estimate, too high rather than too low.", examples=[134_217_728]
    )
    available_bytes: int | None = Field(
        description="What this trainer has for it: what is free, and what its job in training holds. Null on "
        "a GPU that is training, which is left alone.",
        examples=[2_147_483_648],
    )
    fits: bool | None = Field(description="Null if that is not known now.")
    batch_size: int | None = Field(
        description="If it does not fit: the largest half, quarter, … of the batch that does; else null.",
    )


class TimeEstimate(Frozen):
    """How long the whole run would take on this trainer, with nothing else running."""

    seconds: float | None = Field(
        description="From the claim to the end, including start-up and evaluations; null if the basis is "
        "`unknown`.",
        examples=[153.2],
    )
    basis: EstimateBasis = Field(
        description="`trained`: a job with identical steps ran here; `measured`: steps of this job were "
        "timed just now; `extrapolated`: from the multiply-adds per second of a job with other steps, so "
        "accurate to within a factor of a few; `unknown`."
    )
    detail: str = Field(
        description="The basis as a sentence.", examples=["Timed just now: 48 steps of 32 images in 2.1 s."]
    )


class EvaluationPlan(Frozen):
    """How often the generator would be evaluated."""

    count: int = Field(examples=[13], description="0 if the dataset has too few pictures for an evaluation.")
    every_images: int | None = Field(
        examples=[9_600], description="Images between two; null if there are none."
    )


class AskedTrainer(Frozen):
    """The trainer that answered: another, on another device, may give a different answer."""

    name: str = Field(examples=["train-host-0"])
    device: Device
    device_model: str = Field(examples=["AMD EPYC 9R14"])
    threads: int
    precision: Precision = Field(description="Arithmetic in which it would train.")
    is_training: bool = Field(description="Whether it was training a job at the time.")


class Estimate(Frozen):
    """What a job would take on the trainer that answered."""

    memory: MemoryEstimate
    time: TimeEstimate
    evaluations: EvaluationPlan
    trainer: AskedTrainer
    error: Failure | None = Field(
        description="The error with which the job would fail before its first step, as far as it can be "
        "predicted: `insufficient_memory`, `features_unavailable`; null if it would begin."
    )


class EstimateAsk(TrainerAsk):
    """Asks what a job would take."""

    spec: TrainingSpec
    images: int = Field(ge=1, description="Pictures of the dataset, held-out ones included.")
    held_out_images: int = Field(ge=0)


class EstimateAnswer(TrainerAnswer):
    """The estimate, or why there is none."""

    estimate: Estimate | None = None
