"""docs/operations.md, the alerts and the dashboard name the same things, and all of them."""

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from service.environment import PREFIX
from service.settings import Settings
from tests.live.server import ROOT

DEPLOY = ROOT / "deploy"
PAGE = (ROOT / "docs" / "operations.md").read_text()
ALERTS = (DEPLOY / "alerts.yml").read_text()
HISTORIES = [Path(__file__).with_name(name) for name in ("alerts.yml", "alerts_drift.yml")]
DASHBOARD: dict[str, Any] = json.loads((DEPLOY / "grafana" / "dashboards" / "vae.json").read_text())
PANELS = [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]
EXPRESSIONS = [target["expr"] for panel in PANELS for target in panel["targets"]]


def first_cells(section: str) -> list[str]:
    """Return the words in code style of the first column of a section's table, in order."""
    (text,) = re.findall(rf"^## {section}\n(.*?)(?=^## |\Z)", PAGE, re.MULTILINE | re.DOTALL)
    return [name for cell in re.findall(r"^\| (`[^|]*)\|", text, re.MULTILINE) for name in re.findall(r"`(\w+)`", cell)]


def metrics(text: str) -> set[str]:
    """Names of metrics in expressions; those of a histogram's series are the histogram's."""
    return {re.sub(r"_(bucket|sum|count)$", "", name) for name in re.findall(r"\b(?:vae|process)_[a-z_]+", text)}


def test_every_setting_is_documented_with_its_default() -> None:
    assert first_cells("Settings") == [PREFIX + name.upper() for name in Settings.model_fields]
    for name, field in Settings.model_fields.items():
        (default,) = re.findall(rf"^\| `{PREFIX + name.upper()}` \| ([^|]*) \|", PAGE, re.MULTILINE)
        if isinstance(field.default, str | int | float) and not isinstance(field.default, Path):
            assert default == (f"`{field.default}`" if field.default != "" else "none"), name


def test_every_alert_is_documented_and_says_what_to_do() -> None:
    rules = ALERTS.split("- alert: ")[1:]
    names = [rule.split()[0] for rule in rules]
    assert first_cells("Alerts") == names
    for rule in rules:
        for word in ("expr:", "severity: ", "summary: ", "reason: ", "action: "):
            assert rule.count(word) == 1, rule
        (severity,) = re.findall(r"severity: (\w+)", rule)
        assert (f"| `{rule.split()[0]}` (critical) |" in PAGE) == (severity == "critical")
    tested = "".join(file.read_text() for file in HISTORIES)
    assert all(f'alertname="{name}"' in tested for name in names)


def test_every_metric_is_documented_and_drawn() -> None:
    documented = set(first_cells("Metrics"))
    drawn = metrics(" ".join(EXPRESSIONS))
    assert {name for name in documented if name.startswith("vae_")} <= drawn
    assert drawn | metrics(re.sub(r"^ *(summary|reason|action):.*", "", ALERTS, flags=re.MULTILINE)) <= documented


def test_panels_do_not_overlap() -> None:
    assert len({panel["id"] for panel in DASHBOARD["panels"]}) == len(DASHBOARD["panels"])
    cells = [
        (at["x"] + x, at["y"] + y)
        for at in (panel["gridPos"] for panel in DASHBOARD["panels"])
        for x in range(at["w"])
        for y in range(at["h"])
    ]
    assert len(set(cells)) == len(cells)
    assert max(x for x, _ in cells) < 24


@pytest.mark.soak
def test_promtool_is_content(tmp_path: Path) -> None:
    """The configuration, the alerts against histories, and every expression of the dashboard."""
    assert shutil.which("promtool"), "this test needs promtool: apt-get install prometheus"
    rules = [{"record": f"panel:{i}", "expr": text.replace("$__rate_interval", "1m")} for i, text in enumerate(EXPRESSIONS)]
    dashboard = tmp_path / "dashboard.json"  # JSON is YAML
    dashboard.write_text(json.dumps({"groups": [{"name": "dashboard", "rules": rules}]}))
    for arguments in (
        ("check", "config", DEPLOY / "prometheus.yml"),
        ("test", "rules", *HISTORIES),
        ("check", "rules", dashboard),
    ):
        ended = subprocess.run(["promtool", *map(str, arguments)], capture_output=True, text=True, timeout=600, check=False)
        assert ended.returncode == 0, ended.stdout + ended.stderr
