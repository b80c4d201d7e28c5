"""Several processes behind one port: uvicorn's supervisor starts them, restarts what dies, and ends them.

Each loads the models for itself and accepts connections only when it is ready, so the first answer of /health/ready speaks
for whoever can be reached. Knows nothing of the application but where its factory is; the supervising process never imports
torch.
"""

from typing import Any

from uvicorn.config import STARTUP_FAILURE, Config
from uvicorn.supervisors import Multiprocess

# a worker that imports torch and loads models is busy, not hung
HEALTHCHECK_SECONDS = 60


def supervise(factory: str, workers: int, **options: Any) -> int:
    """Serve until a signal ends it. `factory`: "module:function" that makes the application. Returns the exit status."""
    config = Config(factory, factory=True, workers=workers, timeout_worker_healthcheck=HEALTHCHECK_SECONDS, **options)
    supervisor = Multiprocess(config, [config.bind_socket()])
    supervisor.run()
    return 1 if any(process.exitcode == STARTUP_FAILURE for process in supervisor.processes) else 0
