"""A failing run on real pictures is detected, diagnosed and rolled back, and still serves its best."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest
import torch

from contract.job import best_checkpoint
from contract.volume import Volume
from models import course, diagnosis, signs, trainer
from models.batches import Batches
from models.checkpoint import load_checkpoint
from models.guards import PATIENCE
from models.ranks import Ranks
from models.state import TrainingState
from tests.worker.training_child import carry_out, clothes, order_for
from worker import link
from worker.orders import TrainingOrder

PICTURES = 500
EVERY = 768
NETWORKS = {"kind": "dcgan", "latent_size": 16, "generator_width": 8, "discriminator_width": 8}


def order_of(volume: Volume, **request: object) -> TrainingOrder:
    """A small job, judged three times."""
    asked = {
        "images": 3 * EVERY,
        "batch_size": 16,
        "architecture": NETWORKS,
        "evaluation": {"every_images": EVERY},
        "checkpoint_every_images": 3 * EVERY,
        "preview_every_images": 3 * EVERY,
        "generator_learning_rate": 4e-3,
        "discriminator_learning_rate": 1e-3,
        "learning_rate_decay": 0,
    }
    return order_for(volume, clothes(PICTURES), **(asked | request))


@dataclass(frozen=True)
class Harmed:
    """A run that was sabotaged, and all its messages."""

    cause: str
    order: TrainingOrder
    said: list[link.Message]


def judgements(said: list[link.Message]) -> list[link.Judged]:
    return [message for message in said if isinstance(message, link.Judged)]


def warnings(said: list[link.Message]) -> list[link.Warned]:
    return [judged.warning for judged in judgements(said) if judged.warning]


def plant(monkeypatch: pytest.MonkeyPatch, harm: Callable[[TrainingState], None], *at: int) -> None:
    """Sabotage the state at these counts of images."""
    honest = trainer.train

    def planted(state: TrainingState, batches: Batches, ranks: Ranks) -> Iterator[trainer.Progress]:
        for progress in honest(state, batches, ranks):
            if progress.images_seen in at:
                harm(state)
            yield progress

    monkeypatch.setattr(trainer, "train", planted)


@torch.no_grad()
def kill_generator(state: TrainingState) -> None:
    """Let it return the same image for every latent."""
    for network in (state.generator, state.ema):
        next(network.parameters()).zero_()


@torch.no_grad()
def spoil_discriminator(state: TrainingState) -> None:
    next(state.discriminator.parameters()).fill_(torch.nan)


HARM = {"mode_collapse": kill_generator, "not_finite": spoil_discriminator}


@pytest.fixture(scope="module", params=HARM)
def harmed(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Harmed:
    """A run that is sabotaged just before it is judged for the second time."""
    volume = Volume(tmp_path_factory.mktemp(request.param) / "volume")
    order = order_of(volume, preview_every_images=EVERY)
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr(diagnosis, "WORSE", 1.0)  # the distance of a uniform grey varies between runs
        plant(monkeypatch, HARM[request.param], 2 * EVERY)
        return Harmed(request.param, order, carry_out(order))


def test_healthy_run_is_judged_at_its_interval_and_at_its_end(volume: Volume) -> None:
    said = carry_out(order_of(volume, images=EVERY + 100))
    assert [judged.images_seen for judged in judgements(said)] == [EVERY, EVERY + 112]
    assert not warnings(said)
    evaluation = judgements(said)[-1].evaluation
    assert evaluation is not None
    assert (evaluation.split, evaluation.samples) == ("held_out", 256)
    assert evaluation.reals >= 16
    assert evaluation.frechet.value > evaluation.frechet.floor > 0
    assert {"generator", "discriminator"} <= set(evaluation.losses)


def test_record_of_a_checkpoint_says_what_its_metrics_were_computed_from(volume: Volume) -> None:
    order = order_of(volume, images=EVERY)
    said = carry_out(order)
    (evaluation,) = [judged.evaluation for judged in judgements(said)]
    assert evaluation is not None
    (fact,) = [message.checkpoint for message in said if isinstance(message, link.Published)]
    _, header = load_checkpoint(volume.checkpoint(order.job, fact.file), fact.digest)
    assert header.metrics == fact.metrics == evaluation.metrics
    assert header.basis == fact.basis == evaluation.basis
    assert fact.basis is not None
    assert fact.basis.reals == evaluation.reals
    assert set(fact.metrics) - set(fact.basis.floor) == {
        "memorised",
        "adversarial_accuracy_real",
        "adversarial_accuracy_fake",
        "path_length",
        "path_smoothness",
    }
    assert fact.metrics["memorised"] == evaluation.memorised
    assert fact.metrics["adversarial_accuracy_fake"] == evaluation.adversarial_accuracy.fake
    assert fact.basis.errors == {"kd": evaluation.kernel.error}
    assert fact.basis.errors["kd"] > 0
    assert fact.basis.searched == evaluation.searched == PICTURES - evaluation.reals
    assert fact.basis.floor["fd"] == evaluation.frechet.floor


def test_sabotage_is_diagnosed_at_once_rolled_back_and_survived(harmed: Harmed) -> None:
    warned = {judged.images_seen: judged.warning.code for judged in judgements(harmed.said) if judged.warning}
    assert warned == {2 * EVERY: harmed.cause}
    assert isinstance(harmed.said[-1], link.Finished)
    published = [message.checkpoint for message in harmed.said if isinstance(message, link.Published)]
    distances = [judged.evaluation.frechet.value for judged in judgements(harmed.said) if judged.evaluation]
    best = best_checkpoint(published)
    assert best.distance == min(distances)
    assert harmed.said[-1].result["best_images_seen"] == best.images_seen


def test_preview_shows_what_is_given_up_unless_it_is_not_finite(harmed: Harmed) -> None:
    shown = [message.images_seen for message in harmed.said if isinstance(message, link.Previewed)]
    given_up = {"mode_collapse": [2 * EVERY], "not_finite": []}[harmed.cause]
    assert shown == [EVERY, *given_up, 3 * EVERY]
    volume = Volume(harmed.order.data_root)
    sheets = {volume.preview(harmed.order.job, images_seen).read_bytes() for images_seen in shown}
    assert len(sheets) == len(shown)


def test_first_signs_of_a_collapse_are_reported_before_they_are_acted_on(
    volume: Volume, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(diagnosis, "WORSE", 1e9)
    plant(monkeypatch, kill_generator, 2 * EVERY)
    said = carry_out(order_of(volume))
    (warned,) = (judged for judged in judgements(said) if judged.images_seen == 2 * EVERY)
    assert warned.evaluation is not None
    assert warned.warning is not None
    assert warned.warning.code == "mode_collapse_suspected"
    assert f"{warned.evaluation.frechet.value:.3g}" in warned.warning.detail
    assert isinstance(said[-1], link.Finished)


def test_resumed_run_takes_the_same_decisions(harmed: Harmed) -> None:
    """It resumes from the first snapshot, before the harm, which is repeated."""
    first = next(message.snapshot for message in harmed.said if isinstance(message, link.Saved))
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr(diagnosis, "WORSE", 1.0)
        plant(monkeypatch, HARM[harmed.cause], 2 * EVERY)
        again = carry_out(harmed.order.model_copy(update={"snapshot": first}))
    for kind in (link.Judged, link.Published):
        resumed = [message.model_dump() for message in again if isinstance(message, kind)]
        straight = [message.model_dump() for message in harmed.said if isinstance(message, kind)]
        assert resumed
        assert resumed == straight[-len(resumed) :]


def test_dead_generator_is_reported_at_once_and_acted_on_by_the_third_evaluation_at_any_age(
    volume: Volume, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The thresholds are those of the service, under which this run is young throughout."""
    deaths = (2 * EVERY, 3 * EVERY, 4 * EVERY)
    plant(monkeypatch, kill_generator, *deaths)
    said = carry_out(order_of(volume, images=6 * EVERY))
    warned = [judged.images_seen for judged in judgements(said) if judged.warning]
    assert warned[0] == deaths[0]
    assert set(warned) <= set(deaths)
    codes = {warning.code for warning in warnings(said)}
    assert "mode_collapse" in codes <= {"mode_collapse", "mode_collapse_suspected"}
    assert isinstance(said[-1], link.Finished)
    published = [message.checkpoint for message in said if isinstance(message, link.Published)]
    assert best_checkpoint(published).metrics["diversity"] > 0.1


def test_non_finite_numbers_between_evaluations_are_detected_within_a_tenth_of_the_run(
    volume: Volume, monkeypatch: pytest.MonkeyPatch
) -> None:
    plant(monkeypatch, spoil_discriminator, EVERY)
    order = order_of(volume, images=5 * EVERY, evaluation={"every_images": 10 * EVERY})
    said = carry_out(order.model_copy(update={"snapshot_seconds": 0.3}))
    assert [judged.images_seen for judged in judgements(said)] == [EVERY, 5 * EVERY]
    assert [warning.code for warning in warnings(said)] == ["not_finite"]
    assert isinstance(said[-1], link.Finished)


def test_evaluations_report_losses_of_players_that_do_not_learn_at_every_step(volume: Volume) -> None:
    critic = {"kind": "wgan_gp", "critic_steps": 5}
    order = order_of(volume, objective=critic, images=3 * 256, evaluation={"every_images": 256})
    judged = judgements(carry_out(order))
    assert len(judged) == 3  # of sixteen steps each
    for one in judged:
        assert one.evaluation is not None
        assert {"generator", "discriminator", "discriminator/gradient_penalty"} <= set(one.evaluation.losses)


def test_run_that_was_never_alive_starts_over_and_is_young_again(
    volume: Volume, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Dead at the first three judgements: young, grown, and young again. A resumed run is as young."""
    for module in (course, diagnosis):
        monkeypatch.setattr(module, "YOUNG_STEPS", EVERY // 16 + 1)
    plant(monkeypatch, kill_generator, EVERY, 2 * EVERY, 3 * EVERY)
    order = order_of(volume, images=4 * EVERY).model_copy(update={"snapshot_seconds": 0.3})
    said = carry_out(order)
    assert {judged.images_seen: judged.warning.code for judged in judgements(said) if judged.warning} == {
        EVERY: "mode_collapse_suspected",
        2 * EVERY: "mode_collapse",
        3 * EVERY: "mode_collapse_suspected",
    }
    assert isinstance(said[-1], link.Finished)
    assert said[-1].result["best_images_seen"] == 4 * EVERY
    saved = [message.snapshot for message in said if isinstance(message, link.Saved)]
    for look in (EVERY, 2 * EVERY):
        snapshot = next(one for one in saved if one.images_seen > look)
        again = judgements(carry_out(order.model_copy(update={"snapshot": snapshot})))
        assert again
        assert again == judgements(said)[-len(again) :]


def test_judgement_reported_by_a_killed_child_is_not_repeated(volume: Volume) -> None:
    order = order_of(volume, images=EVERY, evaluation={"every_images": EVERY // 2})
    again = carry_out(order.model_copy(update={"judged_images_seen": EVERY // 2}))
    assert [judged.images_seen for judged in judgements(again)] == [EVERY]


def test_hopeless_run_fails_with_the_cause_and_keeps_its_best(
    volume: Volume, monkeypatch: pytest.MonkeyPatch
) -> None:
    honest = trainer.train

    def hopeless(state: TrainingState, batches: Batches, ranks: Ranks) -> Iterator[trainer.Progress]:
        for progress in honest(state, batches, ranks):
            if progress.images_seen > EVERY:
                spoil_discriminator(state)
            yield progress

    monkeypatch.setattr(trainer, "train", hopeless)
    said = carry_out(order_of(volume, images=10 * EVERY))
    last = said[-1]
    assert isinstance(last, link.Failed)
    assert last.problem.code == "not_finite"
    assert f"{PATIENCE} times" in last.problem.detail
    assert [m.checkpoint.images_seen for m in said if isinstance(m, link.Published)] == [EVERY]


def test_run_that_is_rejected_at_its_end_serves_its_earlier_best(
    volume: Volume, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Although its last pictures have a smaller distance: most of them count as copies."""
    monkeypatch.setattr(signs, "COPIED", -1.0)
    monkeypatch.setattr(signs, "LEAST_COPIED", -1.0)
    for module in (signs, diagnosis):
        monkeypatch.setattr(module, "COLLAPSED", 0.0)
    for module in (course, diagnosis):
        monkeypatch.setattr(module, "YOUNG_STEPS", 2 * EVERY // 16)
    said = carry_out(order_of(volume, images=2 * EVERY))
    assert [judged.images_seen for judged in judgements(said) if judged.warning] == [2 * EVERY]
    first, last = [message.checkpoint for message in said if isinstance(message, link.Published)]
    assert best_checkpoint([first, last]) == first
    assert isinstance(said[-1], link.Finished)
    assert said[-1].result["best_images_seen"] == first.images_seen == EVERY


def test_run_whose_samples_are_all_the_same_at_its_end_fails_however_young(
    volume: Volume, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After 144 steps of the 500 of youth. Its checkpoints are kept."""
    honest = trainer.train

    def hopeless(state: TrainingState, batches: Batches, ranks: Ranks) -> Iterator[trainer.Progress]:
        for progress in honest(state, batches, ranks):
            kill_generator(state)
            yield progress

    monkeypatch.setattr(trainer, "train", hopeless)
    said = carry_out(order_of(volume, checkpoint_every_images=EVERY))
    assert isinstance(said[-1], link.Failed)
    assert said[-1].problem.code == "mode_collapse"
    assert [one.checkpoint.images_seen for one in said if isinstance(one, link.Published)][:1] == [EVERY]
    warned = {judged.images_seen: judged.warning.code for judged in judgements(said) if judged.warning}
    assert warned[EVERY] == "mode_collapse_suspected"


def test_run_too_short_for_variety_that_ends_without_warns(
    volume: Volume, monkeypatch: pytest.MonkeyPatch
) -> None:
    plant(monkeypatch, kill_generator, EVERY)
    (warned,) = warnings(carry_out(order_of(volume, images=EVERY)))
    assert warned.code == "mode_collapse"
    assert "The run is over" in warned.detail
