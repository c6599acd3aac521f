"""The page in a real browser, and metrics and rules under promtool: wide and narrow, light and dark."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from gx10.drift.classes import Drift
from gx10.drift.classify import Decision
from gx10.drift.verdict import Status
from gx10.reconcile.publish.metrics import metrics
from gx10.reconcile.publish.page import page
from gx10.reconcile.report import Difference, Health, HostReport, OperationReport, Report, StepReport
from gx10.settings import PROJECT

MONITORING = PROJECT / "files/monitoring"
LEAST_CONTRAST = 4.5
"""What the accessibility guidelines ask of text."""

MEASURE = """<!DOCTYPE html>
<iframe id=f style="width:WIDTHpx;height:900px;border:0;color-scheme:SCHEME" src="page.html"></iframe>
<pre id=told></pre><script>
function channel(v) { v /= 255; return v <= 0.03928 ? v / 12.92 : Math.pow((v + 0.055) / 1.055, 2.4); }
function luminance(c) { const [r, g, b] = c.match(/[0-9.]+/g).map(Number);
  return 0.2126 * channel(r) + 0.7152 * channel(g) + 0.0722 * channel(b); }
function ground(e) { for (; e; e = e.parentElement) {
  const c = e.ownerDocument.defaultView.getComputedStyle(e).backgroundColor;
  if (!/rgba\\(.*, 0\\)|transparent/.test(c)) return c; } return "rgb(255, 255, 255)"; }
f.onload = () => {
  const d = f.contentDocument, w = f.contentWindow, body = w.getComputedStyle(d.body);
  let least = 99, where = "";
  for (const e of d.querySelectorAll("body *")) {
    if (![...e.childNodes].some(n => n.nodeType == 3 && n.data.trim())) continue;
    const a = luminance(w.getComputedStyle(e).color), b = luminance(ground(e));
    const c = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    if (c < least) { least = c; where = e.outerHTML.slice(0, 80); } }
  told.textContent = JSON.stringify({
    scroll: d.documentElement.scrollWidth, client: d.documentElement.clientWidth, least, where,
    body: body.backgroundColor, size: parseFloat(body.fontSize),
    opened: d.querySelectorAll("details[open]").length, runs: d.querySelectorAll("details").length,
    resources: w.performance.getEntriesByType("resource").length }); };
</script>"""


def reports() -> list[Report]:
    """Runs of every status, with long names and hostile text."""
    told = []
    for place, status in enumerate(Status):
        started = datetime(2026, 5, 30, 2, 30, tzinfo=UTC) - timedelta(days=place)
        operations = [
            OperationReport(
                name="Host | Write the directories, programs, kernel parameters and services of the host",
                host="gx10-3",
                drift=Drift.HEAL,
                decision=decision,
                reason="the window is closed",
                result=result,
                differences=[
                    Difference(subject="/etc/systemd/system/" + "x" * 90, found="<b>absent</b>", described="&")
                ],
            )
            for decision, result in zip(Decision, ("changed", "failed", "skipped", "skipped", "skipped"), strict=True)
        ]
        told.append(
            Report(
                run=f"{started:%Y%m%dT%H%M%SZ}-{place}",
                cluster="lab",
                mode="reconcile",
                started=started,
                status=status,
                finished=started + timedelta(seconds=9),
                operations=operations if place % 2 == 0 else [],
                reason="unreachable: ssh: connect to host 10.77.0.13 port 22: " + "y" * 60,
                hosts={f"gx10-{n}": HostReport(reachable=n != 3) for n in range(1, 5)},
                description="0123456789abcdef",
                health_after=Health(serving=True, completion=True, completion_seconds=0.4, told="8 tokens in 0.4 s"),
                steps=[StepReport(name="plan", seconds=3.2)],
                flapping=["gx10-3: Host | Write: /etc/x"],
            )
        )
    return told


def measured(tmp_path: Path, width: int, dark: bool) -> dict[str, Any]:
    """What a browser says of the page in a frame of this width."""
    browser = shutil.which("chromium") or shutil.which("chromium-browser")
    assert browser, "Debian's chromium is missing: `make drift` installs it"
    (tmp_path / "page.html").write_text(page("lab", reports()))
    (tmp_path / "measure.html").write_text(
        MEASURE.replace("WIDTH", str(width)).replace("SCHEME", "dark" if dark else "light")
    )
    words = [
        browser, "--headless=new", "--no-sandbox", "--disable-gpu", "--allow-file-access-from-files",
        f"--user-data-dir={tmp_path / 'profile'}", "--window-size=1400,1000", "--virtual-time-budget=3000",
        f"--blink-settings=preferredColorScheme={0 if dark else 1}",
        "--dump-dom", f"file://{tmp_path}/measure.html",
    ]  # fmt: skip
    done = subprocess.run(words, capture_output=True, text=True, timeout=120, check=True)
    told = re.search(r'<pre id="told">(\{.*?\})</pre>', done.stdout, re.DOTALL)
    assert told, done.stdout[-500:] + done.stderr[-500:]
    found: dict[str, Any] = json.loads(told[1].replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&"))
    return found


@pytest.mark.parametrize("width", [360, 390, 1280])
@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_the_page_fits_every_screen_and_is_readable_in_both_schemes(tmp_path: Path, width: int, dark: bool) -> None:
    told = measured(tmp_path, width, dark)
    assert told["scroll"] <= told["client"], f"scrolls sideways at {width} px: {told}"
    assert told["least"] >= LEAST_CONTRAST, f"too little contrast: {told}"
    assert told["size"] >= 16, "smaller text makes phones zoom"
    assert (told["opened"], told["runs"]) == (1, len(Status))
    assert told["resources"] == 0, "the page fetches something"
    bright = sum(int(channel) for channel in re.findall(r"\d+", told["body"])[:3]) > 384
    assert bright is not dark, f"the scheme is not followed: {told['body']}"


def test_metrics_and_rules_are_what_prometheus_takes(tmp_path: Path) -> None:
    promtool = shutil.which("promtool")
    assert promtool, "Debian's prometheus is missing: `make drift` installs it"
    for report in reports():
        checked = subprocess.run(
            [promtool, "check", "metrics"],
            input=metrics(report, report.started),
            capture_output=True,
            text=True,
            check=False,
        )
        assert (checked.returncode, checked.stdout + checked.stderr) == (0, "")
    for words in (["check", "rules", "gx10-alerts.yaml"], ["test", "rules", "gx10-alerts-test.yaml"]):
        done = subprocess.run([promtool, *words], cwd=MONITORING, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
