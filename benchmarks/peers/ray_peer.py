"""Ray Serve with its dynamic batching, one replica behind one proxy; one picture per request."""

import os
import sys
from pathlib import Path
from typing import Any

import ray
import task
from ray import serve
from starlette.requests import Request


@serve.deployment(num_replicas=1, max_ongoing_requests=256)
class VAE:
    """The deployment: picture in, posterior out."""

    def __init__(self) -> None:
        self.vae = task.load()

    @serve.batch(max_batch_size=task.MAX_BATCH, batch_wait_timeout_s=task.WAIT_SECONDS)
    async def encode(self, images: list[str]) -> list[dict[str, Any]]:
        """Encode base64 pictures to posteriors."""
        return list(task.posteriors(self.vae, [task.pixels(image) for image in images]))

    async def __call__(self, request: Request) -> dict[str, Any]:
        """Answer one request."""
        answer: dict[str, Any] = await self.encode((await request.json())["images"][0])
        return answer


if __name__ == "__main__":
    # Replicas are separate processes that import `task` too.
    path = os.pathsep.join([os.environ["PYTHONPATH"], str(Path(__file__).parent)])
    ray.init(include_dashboard=False, runtime_env={"env_vars": {"PYTHONPATH": path}}, log_to_driver=False)
    serve.start(http_options={"host": "127.0.0.1", "port": int(sys.argv[1])}, logging_config={"enable_access_log": False})
    serve.run(VAE.bind(), route_prefix="/encode", blocking=True)
