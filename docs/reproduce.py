"""A seed's pixels from a checkpoint alone (architecture dcgan, prior normal): reproduce.py FILE SEED PNG"""

import json
import sys
from statistics import NormalDist

import numpy as np
import torch
from PIL import Image
from safetensors import safe_open
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

with safe_open(sys.argv[1], "pt") as file:
    size = json.loads(file.metadata()["dcgan"])["spec"]["architecture"]["latent_size"]
    weights = {name.split(".", 1)[1]: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
uniform = ((np.random.Philox(key=int(sys.argv[2])).random_raw(size) >> 12) + 0.5) * 2.0**-52
latent = torch.tensor([NormalDist().inv_cdf(u) for u in uniform], dtype=torch.float32)
layers: list[nn.Module] = []
for number in sorted({int(name.split(".")[0]) for name in weights}):
    own = {name.split(".")[1]: w for name, w in weights.items() if name.split(".")[0] == str(number)}
    shape, geometry = own["weight"].shape, (2, 1) if layers else (1, 0)  # the first makes 4×4 of a point
    is_norm, bias = len(shape) == 1, "bias" in own
    layer = nn.BatchNorm2d(*shape) if is_norm else nn.ConvTranspose2d(*shape[:3], *geometry, bias=bias)
    layer.eval().load_state_dict(own, strict=False)  # a batch norm's count of steps is not in the file
    layers += [fuse_conv_bn_eval(layers.pop(), layer, transpose=True), nn.ReLU()] if is_norm else [layer]
torch.set_num_threads(1)
image = nn.Sequential(*layers, nn.Tanh()).to(memory_format=torch.channels_last)(latent[None, :, None, None])
pixels = ((image[0].detach() + 1) * 127.5).round().clamp(0, 255).byte().permute(1, 2, 0).numpy()
Image.fromarray(pixels.squeeze()).save(sys.argv[3])
