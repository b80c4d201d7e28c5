"""MOSEC with its dynamic batching, one worker; one picture per request, JSON in and out. The server itself is in Rust.

It reads its arguments, such as --port, from the command line.
"""

from typing import Any

import task
from mosec import Server, Worker


class VAE(Worker):
    """The MOSEC worker: pictures in, posteriors out, all requests of a batch at once."""

    def __init__(self) -> None:
        self.vae = task.load()

    def forward(self, data: list[dict[str, Any]]) -> task.Posteriors:
        """Encode the base64 pictures of a batch to posteriors."""
        return task.posteriors(self.vae, [task.pixels(request["images"][0]) for request in data])


if __name__ == "__main__":
    server = Server()
    wait = round(1000 * task.WAIT_SECONDS)  # milliseconds
    server.append_worker(VAE, num=1, max_batch_size=task.MAX_BATCH, max_wait_time=wait, route="/encode")
    server.run()
