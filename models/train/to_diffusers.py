"""python -m models.train.to_diffusers RUN OUT: write a model with the net AutoencoderKL in the layout of diffusers.

The scaling factor is measured on the pictures of the training, as diffusers defines it: 1 / the standard deviation of latents.
"""

import argparse
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import torch

from models.checkpoint import CheckpointError, read
from models.data import load_data
from models.diffusers_layout import check_storable, save_diffusers
from models.program import add_version_flag, program
from models.readers.download import DataError
from models.train.flags import add_data_flags
from models.train.kinds import TRAINING
from models.vae import VAE, VAEConfig

# So many training pictures, evenly spread, and their seed.
PICTURES, BATCH, SEED = 2000, 100, 0


def scaling_factor(vae: VAE, x: torch.Tensor) -> float:
    """Return 1 / the standard deviation of a draw from the posterior of each picture, uint8 (N, C, H, W)."""
    noise, drawn = torch.Generator().manual_seed(SEED), []
    with torch.inference_mode():
        for rows in x.split(BATCH):
            posterior = vae.encode(rows)
            drawn.append(posterior.sample(torch.randn(posterior.mu.shape, generator=noise)))
    return 1 / float(torch.cat(drawn).std())


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command. Exit status: 0 for success, 1 for an error."""
    parser = argparse.ArgumentParser(
        program("models.train.to_diffusers"), description=(__doc__ or "").partition(": ")[2].splitlines()[0]
    )
    add_version_flag(parser)
    parser.add_argument("run", type=Path, metavar="RUN", help="directory of a checkpoint that models.train has written")
    parser.add_argument("out", type=Path, metavar="OUT", help="directory to write, which AutoencoderKL.from_pretrained reads")
    add_data_flags(parser)
    args = parser.parse_args(argv)
    try:
        checkpoint = read(args.run)
        check_storable(checkpoint.vae.config)  # before data are read or even downloaded
        options = TRAINING[checkpoint.vae.kind.name].options_again(checkpoint.manifest)
        data = f"packed:{args.pack}" if args.pack else str(checkpoint.manifest.data.get("name"))
        splits = load_data(data, args.data_dir, options, args.mirror)
        x = splits.train.x
        x = x[:: max(1, len(x) // PICTURES)][:PICTURES]
        scale = round(scaling_factor(checkpoint.vae, x), 5)
        config = asdict(checkpoint.vae.config)
        vae = VAE(VAEConfig(**{**config, "arch_options": {**config["arch_options"], "scaling_factor": scale}}))
        vae.load_state_dict(checkpoint.vae.state_dict())
        save_diffusers(args.out, vae, {**checkpoint.manifest.data, "scaling_factor_of": f"{len(x)} training pictures"})
    except (CheckpointError, DataError, OSError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    among = ", those for validation among them" if splits.validation is None else ""
    print(f"written: {args.out}; scaling factor {scale:g}, from {len(x)} pictures of the training split{among}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
