"""The request that continues drawings and texts, as a value."""

from typing import Any

from vae_client.calls import Call, Options, json_call, present
from vae_client.data import Data


def complete(begun: Any, n: int, seed: int | None, options: Options, **more: Any) -> Call[list[Data]]:
    """Begun drawings or texts -> n continuations of each."""
    if not isinstance(begun, Data):
        raise TypeError("what is begun must be Strokes([...]) or Texts([...])")
    kind, body = type(begun), {begun.many: list(begun), "n": n, **present(seed=seed, **more), **options.parameters()}
    return json_call("POST", "/complete", lambda answer: [kind(one) for one in answer[kind.many]], options, body)
