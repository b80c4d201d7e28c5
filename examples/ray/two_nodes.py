"""A Ray cluster of two nodes on this machine with the service on both: python -m examples.ray.two_nodes

It starts Ray twice, each time as if on a machine of its own, runs `serve run` with deploy/ray/serve.yaml, prints where the
service is, and ends everything on Ctrl-C or SIGTERM. Each node has a proxy of Serve with a port of its own.
"""

import argparse
import contextlib
import math
import os
import secrets
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

WITHOUT_RAY = "error: Ray is not installed: pip install 'vae-service[ray]'"
try:
    import yaml  # which comes with Ray
except ModuleNotFoundError:
    sys.exit(WITHOUT_RAY)

ROOT = Path(__file__).resolve().parents[2]
CONFIGURATION = ROOT / "deploy" / "ray" / "serve.yaml"
LAST_PORT = 65535
MEMORY_BYTES = 80 << 20  # of each node's object store, which Serve hardly uses
# The path of a socket may have so many bytes, the last of which are what Ray adds to the directory that it is given.
SOCKET_PATH_BYTES = 103 if sys.platform == "darwin" else 107
OF_RAY = "/ray/session_2026-01-31_23-59-59_000000_1234567/sockets/plasma_store.1"


def main() -> None:
    """Run the cluster until a signal ends it."""
    options = _options()
    ports = [options.port or free_port(), *(free_port() for _ in range(options.nodes - 1))]
    with tempfile.TemporaryDirectory(prefix="vae-ray-") as name:
        check_length(name)
        os.environ.update(environment(ports, name, options.variable))
        try:
            from ray.cluster_utils import Cluster  # imported late: Ray reads the variables when it is imported
        except ModuleNotFoundError:
            sys.exit(WITHOUT_RAY)

        (Path(name) / "ray").mkdir()
        head = {"num_cpus": options.cpus, "object_store_memory": MEMORY_BYTES, "include_dashboard": False}
        cluster = Cluster(initialize_head=True, head_node_args=head)
        run = None
        try:
            for _ in range(options.nodes - 1):
                cluster.add_node(num_cpus=options.cpus, object_store_memory=MEMORY_BYTES)
            for number in (signal.SIGTERM, signal.SIGINT):  # instead of Ray's handlers, which would end the nodes first
                signal.signal(number, lambda *_: sys.exit(0))
            path = Path(name) / "serve.yaml"
            path.write_text(yaml.safe_dump(configuration(options, ports[0], Path(name))))
            serve = Path(sys.executable).with_name("serve")
            run = subprocess.Popen([serve, "run", "--address", cluster.address, path], cwd=ROOT)  # noqa: S603
            for port in ports:
                wait_until_ready(f"http://127.0.0.1:{port}", run)
            raylets = [node.all_processes["raylet"][0].process.pid for node in (cluster.head_node, *cluster.worker_nodes)]
            print("raylets", *raylets, flush=True)  # noqa: T201
            print("Running on", *(f"http://127.0.0.1:{port}" for port in ports), flush=True)  # noqa: T201
            run.wait()
        finally:
            if run is not None:
                run.send_signal(signal.SIGINT)  # `serve run` then ends the application
                with contextlib.suppress(subprocess.TimeoutExpired):
                    run.wait(60)
                run.kill()
            cluster.shutdown()


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m examples.ray.two_nodes", description=__doc__)
    numbers = {
        "nodes": (2, 1, "number of nodes"),
        "port": (0, 0, "port of the first node; 0: a free one"),
        "cpus": (4, 1, "CPUs that each node says it has"),
        "replicas": (2, 1, "least number of replicas"),
        "most-replicas": (4, 1, "largest number of replicas, or --replicas if that is more"),
        "target": (32.0, 0.1, "requests in progress per replica that Serve aims at"),
        "delay": (10.0, 0, "seconds of more or less load until Serve scales"),
        "models-per-replica": (0, 0, "models that are loaded when requests name them; 0: all are loaded at the start"),
    }
    for name, (default, _, text) in numbers.items():
        parser.add_argument(f"--{name}", type=type(default), default=default, help=f"{text} (default: {default:g})")
    parser.add_argument("--store", default="", help="where latents are stored (default: a sqlite file for this run)")
    parser.add_argument(
        "--variable", action="append", default=[], metavar="NAME=VALUE",
        help="a variable for Ray and the service; may be repeated (default: none)",
    )  # fmt: skip
    options = parser.parse_args()
    for name, (_, least, _) in numbers.items():
        if not least <= (value := getattr(options, name.replace("-", "_"))) < math.inf:
            parser.error(f"--{name} must be at least {least:g}, not {value:g}")
    if options.port > LAST_PORT:
        parser.error(f"--port must be at most {LAST_PORT}, not {options.port}")
    for variable in options.variable:
        if not all(variable.partition("=")[:2]):
            parser.error(f"--variable must be NAME=VALUE, not {variable!r}")
    return options


def check_length(directory: str) -> None:
    """End the process if paths of Ray's sockets below the directory would be too long."""
    found, allowed = len(os.fsencode(directory)), SOCKET_PATH_BYTES - len(OF_RAY)
    if found > allowed:
        sys.exit(
            f"error: the path of the directory for temporary files, {directory}, has {found} bytes, and at most {allowed} are "
            "allowed, because Ray has sockets below it, whose paths are short; set TMPDIR to a shorter path, such as /tmp"
        )


def environment(ports: list[int], directory: str, variables: list[str]) -> dict[str, str]:
    """Return variables for all processes of the cluster, whose files lie in the directory."""
    return {
        "PYTHONPATH": os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]),
        "RAY_USAGE_STATS_ENABLED": "0",  # Ray would report to its makers
        "RAY_TMPDIR": directory,
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN": secrets.token_hex(32),
        "RAY_SERVE_HTTP_PROXY_CALLBACK_IMPORT_PATH": "deploy.ray.proxy:model_middleware",
        "RAY_SERVE_WORKER_PROXY_HTTP_PORT": str(ports[-1]),
        "RAY_SERVE_FORCE_STOP_UNHEALTHY_REPLICAS": "1",
        **dict(one.split("=", 1) for one in variables),
    }


def configuration(options: argparse.Namespace, port: int, directory: Path) -> dict[str, Any]:
    """Return deploy/ray/serve.yaml with the options of the command line."""
    found: dict[str, Any] = yaml.safe_load(CONFIGURATION.read_text())
    found["http_options"] |= {"host": "127.0.0.1", "port": port}
    (application,) = found["applications"]
    application["args"]["models_per_replica"] = options.models_per_replica
    variables = application["runtime_env"]["env_vars"]
    variables["VAE_STORE"] = options.store or str(directory / "latents.db")
    (deployment,) = application["deployments"]
    deployment["autoscaling_config"] |= {
        "min_replicas": options.replicas,
        "max_replicas": max(options.replicas, options.most_replicas),
        "target_ongoing_requests": options.target,
        "upscale_delay_s": options.delay,
        "downscale_delay_s": options.delay,
    }
    return found


def free_port() -> int:
    """Return a port on which nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def wait_until_ready(url: str, run: subprocess.Popen[bytes]) -> None:
    """Wait until /health/ready answers 200. End the process if `serve run` has ended."""
    while run.poll() is None:
        with contextlib.suppress(urllib.error.URLError, ConnectionError, TimeoutError):
            urllib.request.urlopen(f"{url}/health/ready", timeout=5).close()  # noqa: S310
            return
        time.sleep(0.2)
    sys.exit(f"serve run ended with status {run.returncode}")


if __name__ == "__main__":
    main()
