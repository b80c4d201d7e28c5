"""The command line of `python -m service`: its flags are the settings. Also says what is wrong with their values.

Knows nothing of what the values are used for.
"""

import argparse
import inspect
import sys
from collections.abc import Sequence
from typing import Any

from pydantic import ValidationError
from pydantic_settings import CliSettingsSource

from service.allowed_values import allowed
from service.environment import PREFIX
from service.settings import Settings


def read_settings(program: str) -> Settings:
    """Return the settings of the command line and the environment. Raises ValidationError; ends the process after --help."""
    source: CliSettingsSource[Any] = CliSettingsSource(Settings, cli_prog_name=program, add_argument_method=_add_flag)
    source.root_parser.usage = f"{program} [flags]; {program} --help lists them"
    source.root_parser.description = inspect.cleandoc(Settings.__doc__ or "")
    return Settings(_cli_settings_source=source(args=True))


def _add_flag(parser: argparse.ArgumentParser, *flags: str, **options: Any) -> None:
    """Add a flag to the parser with a help text in plain words, instead of one with the types of Python."""
    if field := Settings.model_fields.get(dest := options.get("dest", "")):  # all but --help
        if field.annotation is bool:
            options["metavar"] = "{true,false}"
        elif not options["metavar"].startswith("{"):  # which lists the choices
            options["metavar"] = dest.partition("_per_")[0].rpartition("_")[2].upper()
        options["help"] = f"{field.description} (default: {_shown(field.default)})".replace("%", "%%")
    parser.add_argument(*flags, **options)


def _shown(default: Any) -> str:
    """Return a default value as a user would write it."""
    if isinstance(default, bool):
        return str(default).lower()
    return (",".join(default) if isinstance(default, tuple) else "" if default is None else str(default)) or "none"


def explain(error: ValidationError, arguments: Sequence[str] | None = None) -> list[str]:
    """Return one sentence for each setting that has a value that cannot be used; it begins with its flag or its variable.

    `arguments`: the command line, by default that of the process.
    """
    given = {one.partition("=")[0] for one in (sys.argv[1:] if arguments is None else arguments)}
    sentences = []
    for problem in error.errors():
        reason = problem["msg"].removeprefix("Value error, ")
        if not problem["loc"]:  # It is about several settings. Its input is all of them, including secret keys.
            sentences.append(reason)
            continue
        field = str(problem["loc"][0])
        flag = f"--{field.replace('_', '-')}"
        name = flag if flag in given else PREFIX + field.upper()
        if values := allowed(problem):
            reason = f"must be {values}"
        if reason.startswith("must be "):
            sentences.append(f"{name} {reason}, not {problem['input']!r}")
        else:
            sentences.append(f"{name}: {reason}")
    return sentences
