"""What an epoch's validation measures, and by which of the numbers epochs are compared. Knows nothing of the training loop."""

from typing import NamedTuple

from models.train.losses import Criterion


class Validation(NamedTuple):
    """Means over the validation split, in nats at beta = 1, and the number of active latent dimensions."""

    elbo: float
    log_likelihood: float
    kl: float
    bound: float | None  # importance-weighted; only for the objectives iwae and iwae-dreg
    loss: float | None  # what is minimised, at the full weight of the KL; only for the objective perceptual
    active_units: int
    sigma: float | None = None  # of the pixels, and the root of their mean squared error; only for Gaussian likelihoods
    rmse: float | None = None
    standard_error: float | None = None  # of the ELBO, over blocks or groups if they are held out

    def score(self, criterion: Criterion, epoch: int) -> float | None:
        """Return what is compared to choose the best epoch; larger is better."""
        if criterion == "loss":
            return None if self.loss is None else -self.loss
        return {"elbo": self.elbo, "bound": self.bound, "last": float(epoch)}[criterion]
