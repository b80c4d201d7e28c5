"""MLServer with its adaptive batching, in one process; V2 inference protocol, each picture is a BYTES element."""

import asyncio
import sys

import numpy as np
import task
from mlserver import MLModel, MLServer, ModelSettings, Settings
from mlserver.codecs import NumpyCodec, StringCodec
from mlserver.types import InferenceRequest, InferenceResponse


class VAE(MLModel):
    """The MLServer model: pictures in, posteriors out."""

    async def load(self) -> bool:
        self.vae = task.load()
        return True

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        images = StringCodec.decode_input(payload.inputs[0])
        mu, sigma = task.encode(self.vae, [task.pixels(image) for image in images])
        outputs = [NumpyCodec.encode_output(name, np.array(rows, np.float32)) for name, rows in (("mu", mu), ("sigma", sigma))]
        return InferenceResponse(model_name=self.name, outputs=outputs)


async def main(port: int) -> None:
    """Serve until a signal stops the process."""
    # gRPC cannot be turned off, so it gets any free port.
    settings = Settings(host="127.0.0.1", http_port=port, grpc_port=0, metrics_endpoint=None, parallel_workers=0, debug=False)
    model = ModelSettings(
        name="vae",
        implementation=VAE,
        max_batch_size=task.MAX_BATCH,
        max_batch_time=task.WAIT_SECONDS,
    )
    await MLServer(settings).start([model])


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1])))
