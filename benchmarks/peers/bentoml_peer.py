"""BentoML with its adaptive batching, one worker. A batched method of BentoML returns one item per picture."""

import bentoml
import task

LATENCY_MILLISECONDS = 1000


@bentoml.service(workers=1, logging={"access": {"enabled": False}}, metrics={"enabled": False})
class VAE:
    """The BentoML service: pictures in, posteriors out."""

    def __init__(self) -> None:
        self.vae = task.load()

    @bentoml.api(route="/encode", batchable=True, max_batch_size=task.MAX_BATCH, max_latency_ms=LATENCY_MILLISECONDS)
    def encode(self, images: list[str]) -> list[dict[str, list[list[float]]]]:
        """Encode base64 pictures to posteriors."""
        return task.posteriors(self.vae, [task.pixels(image) for image in images])
