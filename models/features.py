"""Features of pictures, for comparing samples with data and for perceptual losses: those of a small classifier trained here.

Without labels the same net stays as it was drawn: random features. Knows nothing of VAEs, files or cards.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional
from tqdm import tqdm

FEATURES = 64
# Small sets get fewer steps, about 26 epochs: of 1,000 digits, 200 steps in 3 s of one core lead to 88.3 % on test pictures,
# and 3,000 in 37 s to 88.8 %. Sets of 15,000 pictures and more get all of them.
STEPS, BATCH, RATE = 3000, 128, 2e-3
LEAST_STEPS, PICTURES_PER_STEP = 100, 5
# Larger pictures are averaged down to this side, so that the net stays small.
MOST_SIDE = 64
NET = (
    "convolutions with 32 filters (5 x 5, padding 2) and 64 (3 x 3, padding 1), both with stride 2 and ReLU, then a dense "
    f"layer of {FEATURES} with ReLU, whose outputs are the features; weights drawn layer by layer by "
    "torch.nn.init.kaiming_normal_ with nonlinearity relu and one generator of the seed on the CPU, biases 0; pixels in [0, 1]"
)


@dataclass(frozen=True)
class FeatureNet:
    """The net of features, and its classifier if the pictures have labels."""

    body: nn.Sequential
    head: nn.Module | None
    classes: Tensor  # int64 (Y,), the labels in ascending order; empty without labels
    steps: int = 0  # of its training

    @property
    def training(self) -> str:
        """How the net was trained, for the protocol."""
        if self.head is None:
            return "no training, because the pictures have no labels"
        return (
            "a classifier: a dense layer from the features to the labels (in ascending order) is drawn last, and all is "
            f"trained on the training pictures, those for validation included, with cross-entropy, {self.steps} steps of "
            f"{BATCH} pictures in the order of torch.randperm of the same generator, epoch after epoch, the last step of an "
            f"epoch with those that are left, Adam, learning rate {RATE} falling linearly to 0"
        )

    @torch.no_grad()
    def features(self, x: Tensor) -> Tensor:
        """Return the features of pictures, uint8 or float in [0, 1]: (N, C, H, W) -> float32 (N, FEATURES)."""
        return torch.cat([self.body(prepared(rows)) for rows in x.split(1000)])

    def layers(self, x: Tensor) -> list[Tensor]:
        """Return what the three layers give after ReLU, with gradients: float (B, C, H, W) -> two maps and the features."""
        found, values = [], prepared(x)
        for layer in self.body:
            values = layer(values)
            if isinstance(layer, nn.ReLU):
                found.append(values)
        return found

    @torch.no_grad()
    def labels(self, features: Tensor) -> Tensor:
        """Return the most likely label of each row: (N, FEATURES) -> int64 (N,). Only for a net with a classifier."""
        if self.head is None:
            raise ValueError("the pictures had no labels, so that no classifier was trained")
        return self.classes.to(features.device)[self.head(features).argmax(1)]


def prepared(x: Tensor) -> Tensor:
    """Return pictures as the net takes them, float in [0, 1] and at most MOST_SIDE pixels wide and high."""
    x = x.float() / 255 if x.dtype == torch.uint8 else x
    height, width = x.shape[2:]
    size = min(height, MOST_SIDE), min(width, MOST_SIDE)
    return x if size == (height, width) else functional.adaptive_avg_pool2d(x, size)


def feature_net(x: Tensor, labels: Tensor | None, seed: int, device: torch.device) -> FeatureNet:
    """Return the net for pictures like these, bytes (N, C, H, W), trained if they have at least two labels, int64 (N,)."""
    noise = torch.Generator().manual_seed(seed)
    channels, height, width = prepared(x[:1]).shape[1:]
    flat = 64 * -(-height // 4) * -(-width // 4)  # each stride of 2 halves the sides, rounding up
    body = nn.Sequential(
        nn.Conv2d(channels, 32, 5, 2, 2), nn.ReLU(), nn.Conv2d(32, 64, 3, 2, 1), nn.ReLU(),
        nn.Flatten(), nn.Linear(flat, FEATURES), nn.ReLU(),
    )  # fmt: skip
    known = torch.zeros(len(x), dtype=torch.long) if labels is None else labels.cpu()
    classes, targets = known.unique(return_inverse=True)
    head = nn.Linear(FEATURES, len(classes))
    both = nn.Sequential(body, head)
    for layer in both.modules():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu", generator=noise)
            nn.init.constant_(layer.get_parameter("bias"), 0)
    both.to(device)
    if len(classes) < 2:
        return FeatureNet(body, None, classes[:0])
    steps = min(STEPS, max(LEAST_STEPS, len(x) // PICTURES_PER_STEP))
    _train(both, x, targets, steps, noise, device)
    return FeatureNet(body, head, classes, steps)


def _train(net: nn.Module, x: Tensor, targets: Tensor, steps: int, noise: torch.Generator, device: torch.device) -> None:
    """Train as `FeatureNet.training` says. x: (N, C, H, W) bytes, targets: int64 (N,)."""
    optimizer = torch.optim.Adam(net.parameters(), RATE)
    order = torch.empty(0, dtype=torch.long)
    for step in tqdm(range(steps), "classifier for features", unit="step", disable=None, leave=False):
        if not len(order):
            order = torch.randperm(len(x), generator=noise)
        rows, order = order[:BATCH], order[BATCH:]
        for group in optimizer.param_groups:
            group["lr"] = RATE * (1 - step / steps)
        loss = functional.cross_entropy(net(prepared(x[rows.to(x.device)].to(device))), targets[rows].to(device))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
