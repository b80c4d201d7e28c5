"""Training as in PyTorch's VAE example: a data set of Pillow pictures, ToTensor, DataLoader, loss.item().

The two steps of torchvision are reimplemented, so that it need not be installed.

`python train_example.py TASK`, see benchmarks.train.
"""

import json
import sys
import time

import numpy as np
import torch
from PIL import Image
from torch.nn.functional import binary_cross_entropy
from torch.utils.data import DataLoader, Dataset

from models.nets import build_net

task = json.loads(sys.argv[1])
with np.load(task["pictures"]) as arrays:
    images = arrays["images"]


class Pictures(Dataset):
    """Does the work of torchvision.datasets.MNIST and ToTensor for each picture."""

    def __len__(self):
        return len(images)

    def __getitem__(self, index):
        picture = torch.from_numpy(np.array(Image.fromarray(images[index])))[..., None]  # (H, W, C)
        return picture.permute(2, 0, 1).contiguous().float().div(255), 0


torch.manual_seed(0)
net = build_net(task["arch"], (1, *images.shape[1:]), task["latent_dim"], task["options"])
optimizer = torch.optim.Adam(net.parameters(), lr=1e-3)
loader = DataLoader(Pictures(), batch_size=task["batch_size"], shuffle=True)
for _epoch in range(2):
    started, total = time.perf_counter(), 0.0
    for x, _ in loader:
        optimizer.zero_grad()
        mu, logvar = net.encode(x)
        decoded = torch.sigmoid(net.decode(mu + torch.exp(0.5 * logvar) * torch.randn_like(mu)))
        kl = -0.5 * torch.sum(1 + logvar - mu.pow(2) - logvar.exp())
        loss = binary_cross_entropy(decoded, x, reduction="sum") + kl
        loss.backward()
        total += loss.item()
        optimizer.step()
    seconds = time.perf_counter() - started
print(len(images) / seconds)
