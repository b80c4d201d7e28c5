"""Say how well the scores of a model separate strangers from held-out pictures, by the record of its calibration.

For users, the card and the report. Measures nothing. `models.evaluate.calibrate` makes the record.
"""

import html
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from models.calibration import Calibration
from models.evaluate.calibrate import FEW
from models.evaluate.held_out import ASSUMED, UNRECORDED
from models.kinds import KINDS
from models.kinds.kind import Kind

TITLE = "How unusual is a picture?"
CAPTION = (
    "AUROC of each kind of out-of-distribution picture (stranger); 0.5 is chance, and below it strangers look more usual than "
    "held-out pictures."
)
# How the pictures of other data sets were made, as far as their names do not say it.
MADE = {"folder:omniglot": "omniglot (characters of Omniglot, their strokes drawn 2 pixels wide, within 20 x 20 pixels)"}


def lines(calibration: Calibration) -> list[str]:
    """Return lines that say what was done, for a user."""
    record = calibration.record
    held_out, stored = record["held_out"], record["training_latents"]
    count = len(calibration.smallest)
    found = [
        f"held out: {count:,} pictures: {held_out['split']}",
        f"{'latents to compare with' if 'data' in record else 'training latents'}: {stored['stored']:,} of {stored['of']:,}, "
        f"{stored['choice']} {record['seed']}",
        f"bandwidth: {calibration.bandwidth:.4f}",
        f"default scores: {', '.join(calibration.default)}",
        test_line(record),
    ]
    if count < FEW:
        found.insert(1, f"warning: these are few: {coarse(count, calibration.least)}")
    if UNRECORDED in held_out["split"]:
        found.insert(
            1, "warning: if that stage was trained on these pictures, new pictures will look more unusual than they are"
        )
    if ASSUMED in held_out["split"]:
        found.insert(
            1, "warning: if the model was trained on these pictures, new pictures will look more unusual than they are"
        )
    found.append("AUROC: the probability that a stranger is more unusual than a held-out picture; 0.5 is chance")
    found += [
        f"AUROC of {kind}: " + ", ".join(f"{name} {each[kind]:.3f}" for name, each in record["auroc"].items())
        for kind in record["auroc"]["p_value"]
    ]
    return found


def coarse(count: int, smallest: float) -> str:
    """Return what p-values of so few held-out pictures cannot tell. `smallest`: that of all default scores together."""
    least = (
        f"p-values come in steps of {1 / (count + 1):.2g}, and the smallest of all default scores together is {smallest:.2g}"
    )
    if smallest > 0.05:
        more = "more data, or a larger --validation in training, hold out more"
        return f"{least}, so that no picture can have one of 0.05: {more}"
    return f"{least}, and a share of 5 % is uncertain by {100 * math.sqrt(0.0475 / count):.1f} % of the pictures"


def test_line(record: Mapping[str, Any]) -> str:
    """Return how near the p-values of test pictures are to uniform."""
    test = record["test"]
    return (
        f"p-values of {test['pictures']:,} test pictures: Kolmogorov-Smirnov distance {test['distance']:.3f} from uniform (of "
        f"samples of these sizes from one source, 95 % stay below {test['distance_by_chance']:.3f}), "
        f"{100 * test['share_up_to_0.05']:.1f} % are at most 0.05"
    )


def words(record: Mapping[str, Any]) -> list[str]:
    """Return paragraphs about a calibration, as plain text."""
    held_out, kinds = record["held_out"], record["strangers"]
    several = len(record["default"]["scores"]) > 1
    chosen = "The default scores are those with the best mean AUROC on these (`density` only if it is clearly better)."
    chosen = chosen if several else "The default score is that of this kind of model."
    count, others = held_out["pictures"]["knn"], ", ".join(map(_made, kinds["other"]))
    return [
        f"`/score` says how unusual a picture is: the share of {count:,} held-out pictures that are at least as unusual, "
        f"judged by {_listed(record['default']['scores'])}{' together' if several else ''}. Held out: {held_out['split']}.",
        f"{test_line(record)[0].upper()}{test_line(record)[1:]}.",
        "The table has the AUROC, the probability that an out-of-distribution picture (a stranger) is more unusual than a "
        "held-out picture: by the p-value of the default scores, and by each score alone. Strangers were made from held-out "
        f"pictures ({', '.join(kinds['made'])}). {chosen}"
        + (f" Other data sets, not used for that choice: {others}." if others else ""),
    ]


def command(directory: Path, record: Mapping[str, Any]) -> str:
    """Return the command that makes the calibration again."""
    seed = f" --seed {record['seed']}" if record["seed"] else ""
    others = "".join(f" --strangers {name}" for name in record["strangers"]["other"])
    data = f" --data {record['data']}" if "data" in record else ""
    return f".venv/bin/python -m models.evaluate {directory.as_posix()} --calibrate{data}{seed}{others}"


def card_lines(directory: Path, record: Mapping[str, Any], kind: Kind = KINDS["picture"]) -> list[str]:
    """Return the section of a card, as lines of Markdown."""
    found = [f"## {kind.worded(TITLE)}", "", "```sh", command(directory, record), "```", ""]
    found += [line for paragraph in words(record) for line in (kind.worded(paragraph), "")]
    each = record["auroc"]
    found += [
        f"| strangers | {' | '.join(f'`{name}`' for name in each)} |",
        "|---|" + "---|" * len(each),
        *(f"| {kind} | {' | '.join(_value(one, kind) for one in each.values())} |" for kind in each["p_value"]),
        "",
    ]
    return found


def report_section(record: Mapping[str, Any]) -> str:
    """Return the text and the table of a report, as HTML."""
    each = record["auroc"]
    head = "".join(f"<th>{html.escape(name)}</th>" for name in each)
    rows = "".join(
        f"<tr><th>{html.escape(kind)}</th>{''.join(f'<td>{_value(one, kind)}</td>' for one in each.values())}</tr>"
        for kind in each["p_value"]
    )
    text = "".join(f'<p class="dim">{html.escape(paragraph.replace("`", ""))}</p>' for paragraph in words(record))
    return f'{text}<table class="matrix"><tbody><tr><th>strangers</th>{head}</tr>{rows}</tbody></table>'


def _value(one: Mapping[str, float], kind: str) -> str:
    return f"{one[kind]:.3f}" if kind in one else ""


def _made(name: str) -> str:
    return MADE.get(name, name.rpartition(":")[2])


def _listed(names: list[str]) -> str:
    quoted = [f"`{name}`" for name in names]
    return f"{', '.join(quoted[:-1])} and {quoted[-1]}" if len(quoted) > 1 else quoted[0]
