"""pythae's VAE and trainer with our net. `python train_pythae.py TASK`, see benchmarks.train."""

import json
import sys
import tempfile
import time

import numpy as np
import torch
from pythae.models import VAE, VAEConfig
from pythae.models.base.base_utils import ModelOutput
from pythae.models.nn import BaseDecoder, BaseEncoder
from pythae.pipelines import TrainingPipeline
from pythae.trainers import BaseTrainerConfig
from pythae.trainers.training_callbacks import TrainingCallback

from models.nets import build_net

task = json.loads(sys.argv[1])
with np.load(task["pictures"]) as arrays:
    images = torch.from_numpy(arrays["images"][:, None]).float() / 255
torch.manual_seed(0)
net = build_net(task["arch"], tuple(images.shape[1:]), task["latent_dim"], task["options"])


class Encoder(BaseEncoder):
    """The encoder of our net as a pythae module."""

    def __init__(self):
        super().__init__()
        self.layers = net.encoder

    def forward(self, x):
        mu, logvar = self.layers(x).chunk(2, dim=1)
        return ModelOutput(embedding=mu, log_covariance=logvar)


class Decoder(BaseDecoder):
    """The decoder of our net as a pythae module."""

    def __init__(self):
        super().__init__()
        self.layers = net.decoder

    def forward(self, z):
        return ModelOutput(reconstruction=torch.sigmoid(self.layers(z)).view(-1, *images.shape[1:]))


class Clock(TrainingCallback):
    """Times the steps of each epoch."""

    def on_train_step_begin(self, training_config, **kwargs):
        self.started = time.perf_counter()

    def on_train_step_end(self, training_config, **kwargs):
        self.seconds = time.perf_counter() - self.started


clock = Clock()
config = VAEConfig(input_dim=tuple(images.shape[1:]), latent_dim=task["latent_dim"], reconstruction_loss="bce")
with tempfile.TemporaryDirectory() as directory:
    training = BaseTrainerConfig(
        output_dir=directory,
        num_epochs=2,
        per_device_train_batch_size=task["batch_size"],
        learning_rate=1e-3,
        no_cuda=True,
    )
    pipeline = TrainingPipeline(model=VAE(config, Encoder(), Decoder()), training_config=training)
    pipeline(images, callbacks=[clock])
print()
print(len(images) / clock.seconds)
