"""How well a linear layer on the features classifies pictures that nothing was trained on.

For each question, a logistic regression is fitted to the features of unaugmented training pictures. The heads
from training, which saw them distorted, shifted and tinted, are discarded.
"""

from collections.abc import Callable

import torch
from torch import Generator, Tensor, nn
from torch.nn import functional

from examples.features import views
from examples.features.distortions import DISTORTIONS
from examples.features.sources import Labelled, Material

SEED = 1
BATCH = 100
MOST = 10_000  # pictures to fit or to test a layer
MOST_DISTORTED = 1_400  # times seven kinds
STEPS = 60
DECAY = 1e-4

Network = Callable[[Tensor], Tensor]
Seen = tuple[Tensor, Tensor]  # features (N, F) and labels (N,)


def accuracies(network: Network, material: Material) -> dict[str, dict[str, float]]:
    """The accuracies by question and pictures, at 32 and at 64 px."""
    photos = material.photos
    return {
        str(side): {
            "clothes, test set": _accuracy(
                _seen(network, material.clothes, side), _seen(network, material.clothes_test, side)
            ),
            "photos, strips kept apart": _accuracy(
                _seen(network, photos.train, side), _seen(network, photos.test, side)
            ),
            "emoji, second drawing": _accuracy(
                _seen(network, material.emoji, side), _seen(network, material.emoji_test, side)
            ),
            "distortions, clothes of the test set": _accuracy(
                _distorted(network, material.clothes, side), _distorted(network, material.clothes_test, side)
            ),
            "distortions, photos never seen": _accuracy(
                _distorted(network, photos.train, side), _distorted(network, photos.unseen, side)
            ),
        }
        for side in (32, 64)
    }


def _accuracy(fitted: Seen, judged: Seen) -> float:
    deviations, means = torch.std_mean(fitted[0], 0)
    layer = _fit((fitted[0] - means) / (deviations + 1e-6), fitted[1])
    with torch.inference_mode():
        found = layer((judged[0] - means) / (deviations + 1e-6)).argmax(1)
    return round(float((found == judged[1]).double().mean()), 3)


def _fit(features: Tensor, labels: Tensor) -> nn.Linear:
    layer = nn.Linear(features.shape[1], int(labels.max()) + 1)
    nn.init.zeros_(layer.weight)
    nn.init.zeros_(layer.bias)
    optimiser = torch.optim.LBFGS(layer.parameters(), max_iter=STEPS, line_search_fn="strong_wolfe")

    def loss() -> Tensor:
        optimiser.zero_grad()
        found = functional.cross_entropy(layer(features), labels) + DECAY * layer.weight.square().sum()
        found.backward()  # type: ignore[no-untyped-call]
        return found

    optimiser.step(loss)  # type: ignore[no-untyped-call]
    return layer


@torch.no_grad()
def _seen(network: Network, labelled: Labelled, side: int) -> Seen:
    chosen = _some(labelled, MOST)
    found = [
        network(views.plain(torch.from_numpy(labelled.pixels[part.numpy()]), side))
        for part in torch.split(chosen, BATCH)
    ]
    return torch.cat(found), torch.from_numpy(labelled.labels[chosen.numpy()])


@torch.no_grad()
def _distorted(network: Network, labelled: Labelled, side: int) -> Seen:
    """Pictures undistorted and with every kind of distortion, at the strengths used in training."""
    random = Generator().manual_seed(SEED)
    features, labels = [], []
    for part in torch.split(_some(labelled, MOST_DISTORTED), BATCH):
        images = views.plain(torch.from_numpy(labelled.pixels[part.numpy()]), side)
        strength = 0.25 + 0.75 * torch.rand((len(images), 1, 1, 1), generator=random)
        kinds = [images, *(distort(images, strength, random) for distort in DISTORTIONS.values())]
        features += [network(kind.clamp(-1, 1)) for kind in kinds]
        labels += [torch.full((len(images),), label) for label in range(len(kinds))]
    return torch.cat(features), torch.cat(labels)


def _some(labelled: Labelled, most: int) -> Tensor:
    return torch.randperm(len(labelled.labels), generator=Generator().manual_seed(SEED))[:most]
