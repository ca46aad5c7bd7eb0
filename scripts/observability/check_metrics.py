"""Checks that running programs export every metric, with every label, that a rule, a dashboard or a runbook uses.

    check_metrics.py URL…    the /metrics of each role, such as http://127.0.0.1:8082/metrics

A label has to be on at least one series of its metric. Prints a table of what is missing; status 1 then.
"""

import re
import sys
import urllib.request

import queries
from queries import ROOT

CONDITIONAL = ROOT / "scripts/observability/conditional.tsv"
SERIES = re.compile(r"^([a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{(.*)\})? \S+")
LABEL = re.compile(r'([a-zA-Z_][a-zA-Z0-9_]*)="(?:[^"\\]|\\.)*"')


def exported(text):
    """The metrics of a page in Prometheus' text format, with their labels. One of which there is only a TYPE line has
    no series yet: its labels are not known (None)."""
    found, histograms = {}, set()
    for line in text.splitlines():
        if kind := re.match(r"# TYPE (\S+) (\S+)", line):
            name, kind = kind.groups()
            if kind == "histogram":
                histograms.add(name)
                for suffix in ("_bucket", "_sum", "_count"):
                    found.setdefault(name + suffix, None)
            else:
                found.setdefault(name, None)
                if kind == "counter" and not name.endswith("_total"):
                    # OpenMetrics names the family without the suffix that its samples have.
                    found.setdefault(name + "_total", None)
        elif series := SERIES.match(line):
            name, labels = series.groups()
            found[name] = (found.get(name) or set()) | set(LABEL.findall(labels or ""))
    return found


def all_exported(urls):
    """What all pages together have."""
    found = {}
    # The private ports are near, whatever proxy the environment names.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    for url in urls:
        with opener.open(url, timeout=10) as answer:
            page = exported(answer.read().decode())
        print(f"{url}: {len(page)} metrics", file=sys.stderr)
        for name, labels in page.items():
            known = found.get(name)
            found[name] = known if labels is None else (known or set()) | labels
    return found


def conditional():
    """Metrics, and labels of them, that need not be there, with their condition."""
    lines = [line for line in CONDITIONAL.read_text().splitlines() if line and not line.startswith("#")]
    return dict(line.split("\t") for line in lines)


def base(metric):
    """The metric that a histogram's series belong to."""
    return re.sub(r"_(bucket|sum|count)$", "", metric)


def faults(found):
    """Rows of the table: metric, what is wrong, where it is used; and what is missing but may be."""
    metrics, clauses = queries.needed()
    excused, wrong, absent = conditional(), {}, []
    for metric, places in metrics.items():
        if metric not in found:
            if reason := excused.get(metric) or excused.get(base(metric)):
                absent.append((metric, reason))
            else:
                wrong[metric, "not exported"] = places[""]
            continue
        for label in places.keys() - {""} - (found[metric] or places.keys()):
            if reason := excused.get(f"{base(metric)}{{{label}}}"):
                absent.append((f"{metric}, label {label}", reason))
                continue
            wrong.setdefault((metric, f"no label {label}"), set()).update(places[label])
    for label, names, where in clauses:
        series = [found[name] for name in names if name in found]
        # Where a metric is missing or has no series yet, nothing can be said.
        if len(series) == len(names) and None not in series and not any(label in labels for labels in series):
            if reason := next(filter(None, (excused.get(f"{base(name)}{{{label}}}") for name in names)), None):
                absent.append((f"{names[0]}, label {label}", reason))
                continue
            wrong.setdefault((names[0], f"no label {label}"), set()).add(where)
    return sorted((*key, where) for key, where in wrong.items()), sorted(set(absent))


def main():
    if len(sys.argv) < 2:
        print(__doc__, file=sys.stderr)
        return 64
    found = all_exported(sys.argv[1:])
    wrong, absent = faults(found)
    if bare := sorted(metric for metric in queries.needed()[0] if metric in found and found[metric] is None):
        print(f"declared, but without a series yet, so that labels are not checked: {', '.join(bare)}")
    for metric, reason in absent:
        print(f"not there, as it may be unless {reason}: {metric}")
    if wrong:
        width = max(len(metric) for metric, _, _ in wrong)
        print(f"\n{'metric':{width}}  {'what is wrong':40}  used by")
        for metric, what, where in wrong:
            more = f" and {len(where) - 1} more" if len(where) > 1 else ""
            print(f"{metric:{width}}  {what:40}  {min(where)}{more}")
    total = len(queries.needed()[0])
    print(f"\nmetrics: {total} used by rules, dashboards and runbooks, {len(wrong)} fault(s) at the running programs")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
