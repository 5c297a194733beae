"""Train the features that judge generators, and write them with their accuracies into the package.

    sh examples/features/fetch.sh FOLDER
    python -m examples.features.train FOLDER

One trunk learns four tasks at once, each through a linear layer on its features that is discarded afterwards:
which clothes (Fashion-MNIST), which emoji (in two drawings), which photo a tile is from, and which distortion
was applied. Seeded and single-threaded; takes minutes.
"""

import argparse
import json
import logging
from collections.abc import Iterator
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Generator, Tensor, nn
from torch.nn import functional
from torch.nn.utils.fusion import fuse_conv_bn_eval

from examples.features import views
from examples.features.accuracies import accuracies
from examples.features.distortions import DISTORTIONS, distorted
from examples.features.sources import Labelled, Material
from models.features.embedded import NAME, digest
from models.features.network import FEATURES, FeatureNetwork

TARGET = Path(__file__).parents[2] / "models/features/features.safetensors"
SEED = 0
STEPS = 4_500
OF_EACH = 32  # clothes, emoji and tiles each, in a step at 32 px
LARGE_EVERY = 6  # steps, one is at 64 px, with a quarter of the images
LEARNING_RATE = 3e-3
SMOOTHING = 0.05
WEIGHTS = {"clothes": 1.0, "emoji": 0.5, "photos": 1.0, "distortions": 1.0}
NOT_ASKED = -100  # the label of an image that a head ignores

SOURCES = {
    "Fashion-MNIST (dataset-fashion-mnist 20200523)": "MIT",
    "Noto emoji (emoji-datasource-google 16.0.0)": "Apache-2.0",
    "Twemoji (emoji-datasource-twitter 16.0.0)": "CC-BY-4.0",
    "lomiri-wallpapers 20.04.0": "CC-BY-4.0, CC-BY-SA-3.0, CC-BY-SA-4.0, CC0-1.0",
    "mate-backgrounds 1.26.0": "GPL-2+, CC-BY-SA-4.0",
    "plasma-workspace-wallpapers 5.27.5": "GPL-2+",
}

logger = logging.getLogger(__name__)


def main() -> None:
    parser = argparse.ArgumentParser(description="Train the feature network.")
    parser.add_argument("source", type=Path, help="the folder that fetch.sh filled")
    parser.add_argument("--to", type=Path, default=TARGET)
    parser.add_argument("--steps", type=int, default=STEPS)
    given = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    torch.set_num_threads(1)
    torch.manual_seed(SEED)
    material = Material.read(given.source)
    network = train(material, given.steps)
    measured = accuracies(network, material)
    logger.info("%s", json.dumps(measured, indent=1))
    write(given.to, network, {"accuracies": measured, "steps": given.steps})


def train(material: Material, steps: int) -> FeatureNetwork:
    """Train the network; its batch norm is folded in at the end."""
    network = FeatureNetwork()
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    heads = _heads(material)
    _add_norms(network)
    random = Generator().manual_seed(SEED)
    weights = [*network.parameters(), *heads.parameters()]
    optimiser = torch.optim.AdamW(weights, LEARNING_RATE, betas=(0.9, 0.99), weight_decay=0.02, fused=True)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, LEARNING_RATE, steps, pct_start=0.1, cycle_momentum=False
    )
    for step, (images, labels) in enumerate(_batches(material, steps, random)):
        changed, labels["distortions"] = distorted(images, random)
        losses = _losses(network, heads, changed, labels)
        optimiser.zero_grad()
        total = sum((WEIGHTS[name] * loss for name, loss in losses.items()), torch.zeros(()))
        total.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        schedule.step()
        if step % 100 == 0:
            logger.info("%d %s", step, {name: round(loss.item(), 3) for name, loss in losses.items()})
    _fold_norms(network.eval())
    return network


def write(target: Path, network: FeatureNetwork, record: dict[str, object]) -> None:
    """Write the network, with a header that has its name, version, sources and accuracies."""
    tensors = {name: tensor.contiguous() for name, tensor in network.state_dict().items()}
    header = {"name": NAME, "version": digest(tensors), "seed": SEED, "sources": SOURCES, **record}
    save_file(tensors, target, {"features": json.dumps(header, sort_keys=True)})


def _heads(material: Material) -> nn.ModuleDict:
    def linear(labelled: Labelled) -> nn.Linear:
        return nn.Linear(FEATURES, int(labelled.labels.max()) + 1)

    return nn.ModuleDict(
        {
            "clothes": linear(material.clothes),
            "emoji": linear(material.emoji),
            "photos": linear(material.photos.train),
            "distortions": nn.Linear(FEATURES, len(DISTORTIONS) + 1),
        }
    )


def _batches(material: Material, steps: int, random: Generator) -> Iterator[tuple[Tensor, dict[str, Tensor]]]:
    """Shuffled images (N, 3, S, S), a third of each kind, and their labels (N,) for each head."""
    seen: dict[str, tuple[Labelled, views.View]] = {
        "clothes": (material.clothes, views.of_clothes),
        "emoji": (material.emoji, views.of_emoji),
        "photos": (material.photos.train, views.of_photos),
    }
    for step in range(steps):
        side, each = (64, OF_EACH // 4) if step % LARGE_EVERY == LARGE_EVERY - 1 else (32, OF_EACH)
        order = torch.randperm(each * len(seen), generator=random)
        images, labels = [], {name: torch.full((len(order),), NOT_ASKED) for name in seen}
        for index, (name, (labelled, view)) in enumerate(seen.items()):
            chosen = torch.randint(len(labelled.labels), (each,), generator=random).numpy()
            images.append(view(torch.from_numpy(labelled.pixels[chosen]), side, random))
            labels[name][index * each : (index + 1) * each] = torch.from_numpy(labelled.labels[chosen])
        yield torch.cat(images)[order], {name: label[order] for name, label in labels.items()}


def _losses(
    network: FeatureNetwork, heads: nn.ModuleDict, images: Tensor, labels: dict[str, Tensor]
) -> dict[str, Tensor]:
    features = network(images.contiguous(memory_format=torch.channels_last))
    return {
        name: functional.cross_entropy(
            head(features), labels[name], ignore_index=NOT_ASKED, label_smoothing=SMOOTHING
        )
        for name, head in heads.items()
    }


def _add_norms(network: FeatureNetwork) -> None:
    """Add batch norm after each convolution: without it the network learns too little in minutes."""
    for name, layer in list(network.named_children()):
        assert isinstance(layer, nn.Conv2d)
        setattr(network, name, nn.Sequential(layer, nn.BatchNorm2d(layer.out_channels)))


def _fold_norms(network: FeatureNetwork) -> None:
    for name, pair in list(network.named_children()):
        assert isinstance(pair, nn.Sequential)
        layer, norm = pair
        assert isinstance(layer, nn.Conv2d)
        assert isinstance(norm, nn.BatchNorm2d)
        setattr(network, name, fuse_conv_bn_eval(layer, norm))


if __name__ == "__main__":
    main()
