"""What serving a model depends on its kind for. To serve one more kind, add one file in this folder and one line below."""

from collections.abc import Mapping

from models.spatial_latents import ARCH as AUTOENCODER_KL
from models.vae import VAEConfig
from service.inference.kinds.autoencoder_kl import ServedAutoencoderKL
from service.inference.kinds.drawings import ServedDrawings
from service.inference.kinds.pictures import ServedPictures
from service.inference.kinds.served_kind import ServedKind
from service.inference.kinds.table import ServedTable
from service.inference.kinds.texts import ServedTexts

SERVED_KINDS: Mapping[str, type[ServedKind]] = {
    "picture": ServedPictures,
    "table": ServedTable,
    "strokes": ServedDrawings,
    "text": ServedTexts,
}

# architectures that are served in a way of their own
SERVED_ARCHITECTURES: Mapping[str, type[ServedKind]] = {AUTOENCODER_KL: ServedAutoencoderKL}


def served_kind(config: VAEConfig) -> type[ServedKind]:
    """Return what serves a model with this configuration."""
    return SERVED_ARCHITECTURES.get(config.arch) or SERVED_KINDS[config.kind]
