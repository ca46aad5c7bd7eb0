"""Checks rules, dashboards and runbooks without anything that runs. `check` beside this file finds promtool and calls it.

Prints a line for each fault; status 1 if there is one.
"""

import json
import os
import re
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import dashboards
import queries
from queries import METRICS, ROOT, RULES, RUNBOOKS

OBSERVABILITY = ROOT / "deploy/observability"


def promtool(*arguments):
    """What promtool says against its arguments; nothing when it is content."""
    run = subprocess.run(["promtool", *map(str, arguments)], capture_output=True, text=True, check=False)
    return [] if run.returncode == 0 else [line for line in (run.stdout + run.stderr).splitlines() if line.strip()]


def everywhere():
    """All queries: of rules, dashboards and runbooks."""
    return queries.rules() + queries.panels() + queries.runbooks()


def rules_are_well_formed():
    """The rules' syntax, and their unit tests: these in as many parts as there are processors, side by side."""
    head, *tests = re.split(r"(?m)^(?=  - name: )", RULES.with_name("headgate.rules_test.yaml").read_text())
    parts = os.cpu_count() or 1
    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(parts) as pool:
        (Path(folder) / RULES.name).write_text(RULES.read_text())
        files = [Path(folder) / f"{part}_test.yaml" for part in range(min(parts, len(tests)))]
        for part, file in enumerate(files):
            file.write_text(head + "".join(tests[part::parts]))
        said = pool.map(lambda file: promtool("test", "rules", file), files)
        return promtool("check", "rules", RULES) + [line for lines in said for line in lines]


def bounds_of_buckets_are_found_by_any_prometheus():
    """Version 3 writes a whole bound as 60.0, version 2 as it came: a query must take either."""
    return [f"{query.where}: {whole} is not found by Prometheus 3" for query in everywhere()
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


def queries_of_dashboards_and_runbooks_are_well_formed():
    """Each query of a dashboard or a runbook as a recording rule, so that promtool parses it."""
    panels = queries.panels()
    for query in panels:
        if "$" in queries.with_values(query.text):
            return [f"{query.where}: a variable that no dashboard has: {query.text}"]
    found = panels + queries.runbooks()
    rules = [{"record": f"query:{number}", "expr": queries.with_values(query.text), "labels": {"where": query.where}}
             for number, query in enumerate(found)]
    with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
        # JSON is YAML.
        json.dump({"groups": [{"name": "queries", "rules": rules}]}, file)
        file.flush()
        said = promtool("check", "rules", file.name)
    return [re.sub(r'rule \d+, "query:(\d+)"', lambda match: found[int(match.group(1))].where, line)
            for line in said if "query:" in line] or said


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


def guards_are_of_one_role():
    """A guard names one job, or a process of another role that has the metric, too, would satisfy it. What workers alone
    have is theirs whatever the job."""
    known = queries.documented()
    return [f"the guard absent({metric}) is satisfied by any process: name one job"
            for rule in queries.rules() if rule.record == "HeadgateMetricsMissing"
            for metric, selection in re.findall(r"absent\((\w+)\{([^}]*)\}", rule.text)
            if metric in known and known[metric].of != "Of workers" and not re.search(r'\bjob="', selection)]


def metrics_and_labels_are_documented():
    """Each metric of a query, each label that is asked of it and each value, where docs/METRICS.md lists them, is there; it
    is generated from the code. And so are the series of the rules' tests, or these would prove nothing."""
    known = queries.documented()
    if not known:
        print("docs/METRICS.md is not there: metrics and labels are not checked against it", file=sys.stderr)
        return []
    found = everywhere() + queries.tested()
    recorded = {rule.record: queries.selectors(rule.text)[1] for rule in found if rule.kind == "record"}
    faults = set()
    for query in found:
        chosen, grouped = queries.selectors(queries.with_values(query.text))
        # Of each metric of the query the labels that it has; of Prometheus' own it is not known.
        had = []
        for metric, matchers in chosen:
            if metric in queries.OF_PROMETHEUS:
                continue
            if metric in recorded:
                labels = dict.fromkeys(recorded[metric])
            elif metric in known:
                labels = known[metric].labels
            elif query.kind == "prose" and f"{metric}_count" in known:
                continue
            else:
                faults.add(f"{metric} is not in docs/METRICS.md ({query.where})")
                continue
            had.append(labels)
            for label, operator, value in matchers:
                if label in queries.OF_TARGETS:
                    continue
                if label not in labels:
                    faults.add(f"{metric} has no label {label} ({query.where})")
                elif labels[label] and re.fullmatch(r"[\w|]+", value):
                    faults |= {f"{metric} has no {label}{operator}\"{one}\" ({query.where})"
                               for one in (value.split("|") if "~" in operator else [value]) if one not in labels[label]}
        if had:
            faults |= {f"no metric of the query has the label {label} ({query.where})"
                       for label in grouped - queries.OF_TARGETS if not any(label in labels for labels in had)}
    return sorted(faults)


def main():
    checks = [rules_are_well_formed, bounds_of_buckets_are_found_by_any_prometheus,
              scrape_configurations_are_well_formed, queries_of_dashboards_and_runbooks_are_well_formed,
              dashboards_are_up_to_date_and_unlike, alerts_are_complete, paging_metrics_are_guarded,
              guards_are_of_one_role, metrics_and_labels_are_documented]
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
          f" {len(queries.panels())} queries, {len(queries.runbooks())} in runbooks, {len(queries.needed()[0])} metrics")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
