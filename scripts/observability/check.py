"""Checks rules and dashboards without anything that runs. `check` beside this file finds promtool and calls it.

Prints a line for each fault; status 1 if there is one.
"""

import json
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import dashboards
import queries
from queries import ROOT, RULES

OBSERVABILITY = ROOT / "deploy/observability"
RUNBOOKS = ROOT / "docs/OPERATIONS.md"
METRICS = ROOT / "docs/METRICS.md"


def promtool(*arguments):
    """What promtool says against its arguments; nothing when it is content."""
    run = subprocess.run(["promtool", *map(str, arguments)], capture_output=True, text=True, check=False)
    return [] if run.returncode == 0 else [line for line in (run.stdout + run.stderr).splitlines() if line.strip()]


def rules_are_well_formed():
    """The rules' syntax, and their unit tests."""
    return promtool("check", "rules", RULES) + promtool("test", "rules", RULES.with_name("headgate.rules_test.yaml"))


def bounds_of_buckets_are_found_by_any_prometheus():
    """Version 3 writes a whole bound as 60.0, version 2 as it came: a query must take either."""
    return [f"{query.where}: {whole} is not found by Prometheus 3" for query in queries.rules() + queries.panels()
            for whole in re.findall(r'le="\d+"', query.text)]


def scrape_configurations_are_well_formed():
    """Prometheus' configurations, with the rules where they expect them. Debian's promtool is built without discovery
    in Kubernetes, so that section is taken out before it is asked about the rest."""
    faults = []
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "rules").mkdir()
        (Path(folder) / "rules" / RULES.name).write_text(RULES.read_text())
        for path in sorted((OBSERVABILITY / "prometheus").glob("*.yaml")):
            text = re.sub(r"    kubernetes_sd_configs:\n(      .*\n)+", "", path.read_text())
            copy = Path(folder) / path.name
            copy.write_text(text)
            faults += promtool("check", "config", copy)
    return faults


def queries_of_dashboards_are_well_formed():
    """Each query of a dashboard as a recording rule, so that promtool parses it."""
    found = queries.panels()
    rules = [{"record": f"panel:{number}", "expr": queries.with_values(query.text), "labels": {"where": query.where}}
             for number, query in enumerate(found)]
    for query in found:
        if "$" in queries.with_values(query.text):
            return [f"{query.where}: a variable that no dashboard has: {query.text}"]
    with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
        # JSON is YAML.
        json.dump({"groups": [{"name": "panels", "rules": rules}]}, file)
        file.flush()
        return [re.sub(r'rule \d+, "panel:(\d+)"', lambda match: found[int(match.group(1))].where, line)
                for line in promtool("check", "rules", file.name) if "panel:" in line]


def dashboards_are_up_to_date_and_unlike():
    """They are what the script writes; uids and titles differ; panels have a text; ids are unique."""
    faults = [f"{name} is stale: run scripts/observability/dashboards.py" for name in dashboards.stale()]
    boards = queries.boards()
    for key in ("uid", "title"):
        values = [board[key] for _, board in boards]
        faults += [f"two dashboards have the {key} {value}" for value in {v for v in values if values.count(v) > 1}]
    for file, board in boards:
        panels = [panel for panel in board["panels"] if panel["type"] != "row"]
        numbers = [panel["id"] for panel in board["panels"]]
        if len(numbers) != len(set(numbers)):
            faults.append(f"{file}: two panels have the same id")
        faults += [f"{file}: the panel '{p['title']}' has no description" for p in panels if not p["description"]]
        faults += [f"{file} has {key}, which provisioning must not have" for key in ("id", "__inputs") if key in board]
    return faults


def alerts_are_complete():
    """Each has a severity and the texts, and each runbook that it or a dashboard names is in docs/OPERATIONS.md."""
    faults, text = [], RULES.read_text()
    alerts = re.findall(r"\n      - alert: (\w+)\n(.*?)(?=\n      - |\n  - |\Z)", text, re.DOTALL)
    for name, body in alerts:
        if not re.search(r"labels: \{ severity: (page|ticket)\b", body):
            faults.append(f"{name}: severity is neither page nor ticket")
        for key in ("summary:", "description:", f"runbook_url: {dashboards.RUNBOOKS}#{name.lower()}\n"):
            if key.strip() not in body:
                faults.append(f"{name}: no {key.strip()}")
    names = {name for name, _ in alerts}
    linked = {panel["links"][0]["url"].partition("#")[2] for _, board in queries.boards()
              for panel in board["panels"] if panel.get("links")}
    faults += [f"a dashboard links to the runbook #{anchor}, but there is no such alert"
               for anchor in sorted(linked - {name.lower() for name in names})]
    tests = RULES.with_name("headgate.rules_test.yaml").read_text()
    faults += [f"{name}: no test" for name in sorted(names) if f"alertname: {name}\n" not in tests]
    if not RUNBOOKS.exists():
        print("docs/OPERATIONS.md is not there: runbooks are not checked", file=sys.stderr)
        return faults
    headings = re.findall(r"^#+ +(.+?)\s*$", RUNBOOKS.read_text(), re.MULTILINE)
    # How GitHub makes an anchor of a heading.
    anchors = {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}
    anchors |= set(re.findall(r'<a (?:id|name)="([^"]+)"', RUNBOOKS.read_text()))
    return faults + [f"{name}: docs/OPERATIONS.md has no heading for #{name.lower()}"
                     for name in sorted(names) if name.lower() not in anchors]


def paging_metrics_are_guarded():
    """Each metric that an alert of severity page depends on, also by way of a recorded one, has an absent() guard."""
    rules = queries.rules()
    recorded = {rule.record: rule for rule in rules if rule.kind == "record"}
    guarded, needed = set(queries.OF_PROMETHEUS), {}
    for rule in rules:
        if rule.kind != "alert":
            continue
        if rule.record == "HeadgateMetricsMissing":
            guarded |= set(re.findall(r"absent\((\w+)", rule.text))
        elif rule.labels.get("severity") == "page":
            todo = set(queries.uses(rule.text))
            while todo:
                metric = todo.pop()
                if metric in recorded:
                    todo |= set(queries.uses(recorded[metric].text))
                elif metric:
                    needed.setdefault(metric, rule.record)
    return [f"{alert}: {metric} has no absent() guard in HeadgateMetricsMissing"
            for metric, alert in sorted(needed.items()) if metric not in guarded]


def metrics_are_documented():
    """Each metric is in docs/METRICS.md, which is generated from the code."""
    if not METRICS.exists():
        print("docs/METRICS.md is not there: names of metrics are not checked against it", file=sys.stderr)
        return []
    known = set(re.findall(r"[a-z][a-z0-9_]+", METRICS.read_text()))
    metrics, _ = queries.needed()
    return [f"{metric} is not in docs/METRICS.md ({min(places[''])})" for metric, places in sorted(metrics.items())
            if metric not in known and re.sub(r"_(bucket|sum|count)$", "", metric) not in known]


def main():
    checks = [rules_are_well_formed, bounds_of_buckets_are_found_by_any_prometheus,
              scrape_configurations_are_well_formed, queries_of_dashboards_are_well_formed,
              dashboards_are_up_to_date_and_unlike, alerts_are_complete, paging_metrics_are_guarded,
              metrics_are_documented]
    failed = False
    for check in checks:
        faults = check()
        failed |= bool(faults)
        print(f"{'FAILED' if faults else 'ok    '} {check.__name__.replace('_', ' ')}")
        for fault in faults:
            print(f"       {fault}")
    rules = queries.rules()
    print(f"observability: {sum(rule.kind == 'alert' for rule in rules)} alert rules,"
          f" {sum(rule.kind == 'record' for rule in rules)} recorded, {len(queries.boards())} dashboards,"
          f" {len(queries.panels())} queries, {len(queries.needed()[0])} metrics")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
