"""The command line: what `--help` shows, and what is said of wrong values."""

import sys

import pytest
from pydantic import ValidationError

from service.flags import explain, read_settings
from service.settings import Settings


@pytest.mark.parametrize(
    ("flag", "sentence"),
    [
        ("--port=abc", "--port must be a whole number, not 'abc'"),
        ("--device=tpu", "--device must be auto, cpu, cuda or cuda:N, not 'tpu'"),
        ("--max-batch=12", "--max-batch must be a multiple of 8, not '12'"),
        ("--host=,", "--host must be a list that is not empty, not ()"),
        ("--access-log=perhaps", "--access-log must be true or false, not 'perhaps'"),
        (
            "--allowed-hosts=a:1",
            "--allowed-hosts: 'a:1' is not a host name: write it without",
        ),
    ],
)
def test_what_is_wrong_with_a_flag_is_said_in_plain_words(flag: str, sentence: str) -> None:
    with pytest.raises(ValidationError) as caught:
        Settings(_cli_parse_args=[flag])
    assert explain(caught.value, [flag])[0].startswith(sentence)


def test_help_shows_no_types_of_python(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys, "argv", ["service", "--help"])
    with pytest.raises(SystemExit):
        read_settings("service")
    shown = " ".join(capsys.readouterr().out.split())
    assert "--port PORT port to listen on" in shown
    assert "(default: localhost)" in shown
    for word in ("tuple", "Secret", " int ", " bool", "False", "True", "None", "'", "()"):
        assert word not in shown.replace("VAE's", ""), word


@pytest.mark.parametrize("arguments", [["-V"], ["word"], ["--prot", "1"]])
def test_a_wrong_command_line_gets_the_usage_in_one_line_and_the_reason(
    arguments: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["service", *arguments])
    with pytest.raises(SystemExit):
        read_settings("service")
    usage, reason = capsys.readouterr().err.splitlines()
    assert usage == "usage: service [flags]; service --help lists them"
    assert arguments[0] in reason
