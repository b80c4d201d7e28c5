"""LitServe with its dynamic batching, one worker; one picture per request."""

import sys
from typing import Any

import litserve
import numpy as np
import task
from numpy.typing import NDArray


class VAEAPI(litserve.LitAPI):
    """The LitServe API: picture in, posterior out."""

    def setup(self, device: str) -> None:
        self.vae = task.load()

    def decode_request(self, request: dict[str, Any]) -> NDArray[np.uint8]:
        return task.pixels(request["images"][0])

    def batch(self, inputs: list[NDArray[np.uint8]]) -> list[NDArray[np.uint8]]:
        return inputs

    def predict(self, x: list[NDArray[np.uint8]]) -> task.Posteriors:
        return task.posteriors(self.vae, x)

    def unbatch(self, output: task.Posteriors) -> task.Posteriors:
        return output

    def encode_response(self, output: dict[str, Any]) -> dict[str, Any]:
        return output


if __name__ == "__main__":
    api = VAEAPI(max_batch_size=task.MAX_BATCH, batch_timeout=task.WAIT_SECONDS, api_path="/encode")
    server = litserve.LitServer(api, accelerator="cpu", workers_per_device=1)
    server.run(
        host="127.0.0.1",
        port=int(sys.argv[1]),
        num_api_servers=1,
        generate_client_file=False,
        log_level="warning",
        access_log=False,
    )
