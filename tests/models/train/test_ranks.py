"""What a process of a run tells torchrun and the other processes, and what it says when it lost the connection to one."""

import json
import pickle
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from models.train.__main__ import main
from models.train.ranks import LostProcess, Ranks, answered
from models.train.resume import RunState
from tests.models.train.test_processes import SMALL


def test_the_reason_is_left_for_torchrun(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("TORCHELASTIC_ERROR_FILE", str(tmp_path / "error.json"))
    assert main([*SMALL, "--data", f"npz:{tmp_path / 'gone.npz'}", "--out", str(tmp_path / "out")]) == 1
    told = json.loads((tmp_path / "error.json").read_bytes())["message"]["message"]
    assert f"error: {told}\n" in capsys.readouterr().err
    assert "gone.npz" in told


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (
            "[/there/gloo/transport/tcp/pair.cc:553] Connection closed by peer [127.0.0.1]:64657. This is typically caused by "
            "a remote worker crashing. Check the logs of the remote worker before reporting an error. GLHF!",
            "Connection closed by peer [127.0.0.1]:64657",
        ),
        (
            "Timed out waiting 600000ms for recv operation to complete",
            "Timed out waiting 600000ms for recv operation to complete",
        ),
    ],
)
def test_a_lost_connection_is_told_in_one_line(text: str, reason: str) -> None:
    with pytest.raises(LostProcess) as caught, answered():
        raise RuntimeError(f"{text}\nmore lines")
    assert f"or did not answer ({reason}); the same command with --resume" in str(caught.value)


class Leader(Ranks):
    """A process that leads, and keeps what it would send the others."""

    def first(self, told: Any = None) -> Any:
        self.sent = pickle.dumps(told)
        return told


def test_weights_in_one_memory_are_sent_once(tmp_path: Path) -> None:
    """A tensor is sent with all of its memory, so that each of many weights in one memory would bring all of them."""
    module = nn.Sequential(*(nn.Linear(50, 50) for _ in range(20)))
    parameters = list(module.parameters())
    memory = torch.zeros(sum(one.numel() for one in parameters))
    for parameter, part in zip(parameters, memory.split([one.numel() for one in parameters]), strict=True):
        parameter.data = part.view_as(parameter)
    leader = Leader(0, 2)
    RunState(tmp_path, module, torch.optim.Adam(parameters), torch.Generator()).meet(leader)
    assert len(leader.sent) < 2 * memory.nbytes
