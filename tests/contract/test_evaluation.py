"""What a checkpoint keeps of its evaluation."""

import pytest

from contract.evaluation import AdversarialAccuracy, Distance, Evaluation, Floor, LatentPaths, MetricsBasis

FLOOR = Floor(samples=7, precision=0.9, recall=0.8, density=1.1, coverage=0.7, diversity=0.95)
LIKENESS = {"precision": 0.9, "recall": 0.8, "density": 1.1, "coverage": 0.7, "diversity": 0.95}


@pytest.mark.parametrize(("floor", "likeness", "samples"), [(FLOOR, LIKENESS, 7), (None, {}, None)])
def test_basis_has_the_floor_of_every_metric_that_has_one(
    floor: Floor | None, likeness: dict[str, float], samples: int | None
) -> None:
    evaluation = Evaluation(
        images_seen=8, samples=4, reals=2, split="training", features="embedded-1",
        frechet=Distance(name="fid", value=9, floor=3),
        kernel=Distance(name="kid", value=5, floor=1, error=0.3),
        precision=1, recall=1, density=1, coverage=1, diversity=1, memorised=0, searched=21, floor=floor,
        adversarial_accuracy=AdversarialAccuracy(
            real=0.4, fake=0.6, threshold=0.7, calibrated=True, judged_reals=1, judged_samples=2
        ),
        latent_paths=LatentPaths(paths=1, points=1, length=1, smoothness=1), losses={},
    )  # fmt: skip
    assert evaluation.basis == MetricsBasis(
        samples=4,
        reals=2,
        split="training",
        features="embedded-1",
        floor={"fid": 3, "kid": 1} | likeness,
        floor_samples=samples,
        errors={"kid": 0.3},
        accuracy_threshold=0.7,
        accuracy_reals=1,
        accuracy_samples=2,
        searched=21,
        paths=1,
    )
    accuracy = {name: value for name, value in evaluation.metrics.items() if "accuracy" in name}
    assert accuracy == {"adversarial_accuracy_real": 0.4, "adversarial_accuracy_fake": 0.6}
    assert set(evaluation.basis.floor) <= set(evaluation.metrics)
