"""Precision, recall, density, coverage and memorisation of synthetic clouds of points."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from models.metrics import Balls, Known, Support, memorised, support

Cloud = Callable[..., Tensor]


def test_distant_fakes_share_nothing_with_the_reals(cloud: Cloud) -> None:
    assert support(cloud(40), cloud(40, seed=1) + 100) == Support(0, 0, 0, 0)


def test_copies_of_all_reals_have_full_precision_recall_and_coverage(cloud: Cloud) -> None:
    found = support(cloud(40), cloud(40))
    assert (found.precision, found.recall, found.coverage) == (1, 1, 1)


def test_fakes_at_one_mode_have_high_precision_and_low_recall(cloud: Cloud) -> None:
    far = torch.zeros(8, dtype=torch.float64)
    far[0] = 100
    reals = torch.cat([cloud(100), cloud(100, seed=1) + far])
    found = support(reals, cloud(200, seed=2) * 0.5)
    assert found.precision > 0.95
    assert found.recall < 0.5
    assert found.coverage <= 0.5


def test_scattered_fakes_have_high_recall_and_low_precision(cloud: Cloud) -> None:
    found = support(cloud(200), cloud(200, seed=1) * 3)
    assert found.recall > 0.8
    assert found.precision < 0.3


def test_equal_distributions_have_density_one_and_the_coverage_in_the_paper(cloud: Cloud) -> None:
    found = support(cloud(1000, size=2), cloud(1000, size=2, seed=1))
    assert found.density == pytest.approx(1, abs=0.1)
    assert found.coverage == pytest.approx(1 - 2**-5, abs=0.02)


def test_fakes_crowded_at_a_mode_have_a_density_above_one(cloud: Cloud) -> None:
    assert support(cloud(200), cloud(200, seed=1) * 0.2).density > 1.5


def test_support_matches_a_computation_from_all_distances(cloud: Cloud) -> None:
    reals, fakes = cloud(300, size=3), cloud(280, size=3, seed=1) * 1.5
    between, own = torch.cdist(fakes, reals), torch.cdist(reals, reals).sort().values
    found = support(reals, fakes)
    assert found.precision == float((between <= own[:, 3]).any(1).double().mean())
    assert found.density == pytest.approx(float((between <= own[:, 5]).double().sum()) / 5 / 280)
    assert found.coverage == pytest.approx(float((between <= own[:, 5]).any(0).double().mean()))
    reach = torch.cdist(fakes, fakes).sort().values[:, 3:4]
    assert found.recall == pytest.approx(float((between <= reach).any(0).double().mean()))


def test_balls_can_replace_their_features(cloud: Cloud) -> None:
    one, other = cloud(50), cloud(60, seed=1)
    assert support(Balls.of(one), Balls.of(other)) == support(one, other)


def test_support_is_the_same_far_from_the_origin(cloud: Cloud) -> None:
    one, other = cloud(50), cloud(60, seed=1)
    assert support(one + 1e5, other + 1e5) == support(one, other)


def test_five_images_of_a_kind_are_refused(cloud: Cloud) -> None:
    with pytest.raises(ValueError, match=r"\(5, 8\)"):
        support(cloud(6), cloud(5))


def test_copies_of_training_images_are_all_memorised(cloud: Cloud) -> None:
    training = cloud(200)
    assert memorised(training[:50], Known.of(training[None], cloud(100, seed=1))) == 1


def test_new_images_are_memorised_as_often_as_new_reals(cloud: Cloud) -> None:
    known = Known.of(cloud(200)[None], cloud(2000, seed=1))
    assert memorised(cloud(2000, seed=2), known) == pytest.approx(0.05, abs=0.02)


def test_distant_images_are_not_memorised(cloud: Cloud) -> None:
    assert memorised(cloud(50, seed=2) + 100, Known.of(cloud(200)[None], cloud(100, seed=1))) == 0


def test_memorised_is_the_share_of_copies(cloud: Cloud) -> None:
    training = cloud(200)
    fakes = torch.cat([training[:60], cloud(140, seed=2) + 100])
    assert memorised(fakes, Known.of(training[None], cloud(100, seed=1))) == pytest.approx(0.3)


def test_training_images_replace_missing_new_reals(cloud: Cloud) -> None:
    training = cloud(2000)
    known = Known.of(training[None])
    assert memorised(cloud(2000, seed=2), known) == pytest.approx(0.05, abs=0.02)
    assert memorised(training, known) == 1


def test_mirrored_copies_count_as_copies(cloud: Cloud) -> None:
    training, mirror = cloud(400), torch.tensor([-1.0, *[1.0] * 7], dtype=torch.float64)
    both = torch.stack([training, training * mirror])
    for new in (cloud(1000, seed=1), None):
        assert memorised(training[:50] * mirror, Known.of(both, new)) == 1
        assert memorised(cloud(2000, seed=2), Known.of(both, new)) == pytest.approx(0.05, abs=0.02)


def test_symmetric_image_is_not_its_own_neighbour(cloud: Cloud) -> None:
    training = cloud(50)
    assert Known.of(torch.stack([training, training])).near == Known.of(training[None]).near > 0


def test_duplicate_reals_do_not_hide_copies(cloud: Cloud) -> None:
    training = cloud(400)
    twice = training[:50] + 1e-2 * cloud(50, seed=3)
    new = torch.cat([cloud(250, seed=1), twice])
    copies = training[100:200] + 3e-2 * cloud(100, seed=4)
    assert memorised(copies, Known.of(training[None], new)) == 1
    assert memorised(copies, Known.of(torch.cat([training, twice])[None])) == 1
    all_twice = torch.cat([training, training + 1e-2 * cloud(400, seed=5)])
    assert memorised(copies, Known.of(all_twice[None])) == 1
    assert memorised(copies, Known.of(training[None], all_twice[400:])) == 1
    assert memorised(cloud(2000, seed=2), Known.of(all_twice[None])) == pytest.approx(0.05, abs=0.03)


def test_kinds_of_nearly_identical_images_are_not_duplicates(cloud: Cloud) -> None:
    kinds = cloud(10)[torch.arange(3000) % 10]
    known, new, honest = (kinds + 1e-2 * cloud(3000, seed=seed) for seed in (1, 2, 3))
    for held_out in (new, None):
        assert memorised(honest, Known.of(known[None], held_out)) == pytest.approx(0.05, abs=0.02)


def test_identical_images_are_all_copies(cloud: Cloud) -> None:
    same = torch.ones(20, 8, dtype=torch.float64)
    assert memorised(same, Known.of(same[None])) == 1
    assert memorised(same, Known.of(same[None], same)) == 1
