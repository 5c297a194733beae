"""The commonly copied DCGAN script: a reimplementation of the loop in pytorch/examples/dcgan/main.py.

Float32, contiguous, sigmoid and BCE, the discriminator's gradients in the generator's step, and five host
syncs per step. Its networks are `dcgan` with its own defaults: width 64 for both.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.optim import Adam
from torch.utils.data import DataLoader

from contract.architectures import Dcgan
from models import networks
from models.networks.pair import Generator

BATCH = 64


@dataclass(frozen=True)
class Trainee:
    """A generator, and an iterator that takes one training step per item."""

    generator: Generator
    steps: Iterator[object]


def plain_script(resolution: int, channels: int, loader: DataLoader[Tensor], device: str) -> Trainee:
    """The script, training on batches (64, C, R, R) in [-1, 1]."""
    pair = networks.build(Dcgan(), resolution, channels)
    for network in (pair.generator, pair.discriminator):
        network.initialise(0)
        network.to(device)
    return Trainee(pair.generator, _steps(pair, loader, device))


def _steps(pair: networks.Networks, loader: DataLoader[Tensor], device: str) -> Iterator[float]:
    generator, discriminator = pair.generator, pair.discriminator
    criterion = nn.BCELoss()
    optimizer_d = Adam(discriminator.parameters(), lr=2e-4, betas=(0.5, 0.999))
    optimizer_g = Adam(generator.parameters(), lr=2e-4, betas=(0.5, 0.999))
    real_label, fake_label = torch.ones(BATCH, device=device), torch.zeros(BATCH, device=device)
    while True:
        for loaded in loader:
            real = loaded.to(device)
            discriminator.zero_grad()
            output = discriminator(real).sigmoid()
            loss_real = criterion(output, real_label)
            loss_real.backward()
            shown = output.mean().item()
            fake = generator(torch.randn(BATCH, generator.latent_size, device=device))
            output = discriminator(fake.detach()).sigmoid()
            loss_fake = criterion(output, fake_label)
            loss_fake.backward()
            shown += output.mean().item()
            optimizer_d.step()
            generator.zero_grad()
            output = discriminator(fake).sigmoid()
            loss_generator = criterion(output, real_label)
            loss_generator.backward()
            shown += output.mean().item()
            optimizer_g.step()
            yield shown + (loss_real + loss_fake).item() + loss_generator.item()
