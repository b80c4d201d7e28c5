"""Models that come and go by Triton's client while others of its clients ask them: each answer is right, or says why not."""

import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import tritonclient.http as triton
from tritonclient.utils import InferenceServerException

from tests.live.server import serving

CALLERS, CHANGES = 3, 4


def test_models_change_under_load(models_dir: Path) -> None:
    pictures = np.arange(2 * 9 * 7 * 3, dtype=np.uint8).reshape(2, 9, 7, 3)
    image = triton.InferInput("image", list(pictures.shape), "UINT8")
    image.set_data_from_numpy(pictures)
    ended = threading.Event()
    with serving("--models-dir", str(models_dir), "--models", "mnist-2d,tiny-rgb", "--admin", "true") as server:
        address = server.url.removeprefix("http://")

        def mu(client: Any) -> Any:
            return client.infer("tiny-rgb.encode", [image]).as_numpy("mu")

        with triton.InferenceServerClient(address) as operator:
            expected = mu(operator)

            def call(_: int) -> tuple[int, set[str]]:
                answered, refused = 0, set[str]()
                with triton.InferenceServerClient(address) as client:
                    while not ended.is_set():
                        try:
                            assert np.array_equal(mu(client), expected)
                            answered += 1
                        except InferenceServerException as error:
                            refused.add(f"{error.status()} {str(error.message()).partition(':')[0]}")
                return answered, refused

            with ThreadPoolExecutor(CALLERS) as pool:
                running = [pool.submit(call, i) for i in range(CALLERS)]
                try:
                    for _ in range(CHANGES):
                        operator.load_model("tiny-rgb")  # again
                        operator.unload_model("tiny-rgb")
                        assert not operator.is_model_ready("tiny-rgb.encode")
                        operator.load_model("tiny-rgb.decode")
                        assert np.array_equal(mu(operator), expected)
                finally:
                    ended.set()
            for one in running:
                answered, refused = one.result()
                assert answered > 0
                assert refused <= {"404 unknown_model"}
            (stats,) = operator.get_inference_statistics("tiny-rgb.encode")["model_stats"]
            assert stats["inference_stats"]["fail"]["count"] == 0  # It was loaded anew, and none failed since.
