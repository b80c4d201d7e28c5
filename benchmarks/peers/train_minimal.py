"""A minimal training loop: pictures in memory, Adam. `python train_minimal.py TASK`, see benchmarks.train."""

import json
import sys
import time

import numpy as np
import torch
from torch.nn.functional import binary_cross_entropy_with_logits

from models.nets import build_net

task = json.loads(sys.argv[1])
with np.load(task["pictures"]) as arrays:
    images = torch.from_numpy(arrays["images"][:, None])
torch.manual_seed(0)
net = build_net(task["arch"], tuple(images.shape[1:]), task["latent_dim"], task["options"])
optimizer = torch.optim.Adam(net.parameters(), lr=1e-3, fused=True)
for _epoch in range(2):
    started, done = time.perf_counter(), 0
    for rows in torch.randperm(len(images)).split(task["batch_size"]):
        x = images[rows].float() / 255
        mu, logvar = net.encode(x)
        logits = net.decode(mu + torch.exp(0.5 * logvar) * torch.randn_like(mu))
        cross_entropy = binary_cross_entropy_with_logits(logits, x, reduction="sum")
        kl = -0.5 * torch.sum(1 + logvar - mu.pow(2) - logvar.exp())
        loss = (cross_entropy + kl) / len(x)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        done += len(x)
    seconds = time.perf_counter() - started
print(done / seconds)
