"""The queries of rules, dashboards and runbooks, and which metrics and labels they use. For the checks beside this file."""

import json
import re
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
RULES = ROOT / "deploy/observability/alerts/headgate.rules.yaml"
DASHBOARDS = ROOT / "deploy/observability/dashboards"
RUNBOOKS = ROOT / "docs/OPERATIONS.md"
METRICS = ROOT / "docs/METRICS.md"

# Words of PromQL that stand where a metric could.
WORDS = {"and", "or", "unless", "bool", "offset", "inf", "nan", "start", "end"}
# Clauses that list labels.
CLAUSES = {"by", "without", "on", "ignoring", "group_left", "group_right"}
# Metrics that Prometheus makes itself.
OF_PROMETHEUS = {"up", "ALERTS"}
# Labels of the target, and of histograms.
OF_TARGETS = {"job", "instance", "le"}

TOKEN = re.compile(r"""
    (?P<string>"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*')
  | (?P<window>\[[^\]]*\])
  | (?P<name>[A-Za-z_:][A-Za-z0-9_:]*)
  | (?P<number>[0-9][0-9.eE]*[smhdwy]?)
  | (?P<sign>[{}()=!~,]+?|[^\s])
""", re.VERBOSE)

# What a console block asks Prometheus: `ask` and `seen` are functions of the page. The second is in double quotes.
ASKED = re.compile(r"""\b(?:ask|seen)\ (?:'([^']*)'|"((?:[^"\\]|\\.)*)")""")
# A name that only a metric has.
MEASURED = re.compile(r"(?<![.\w])(?:headgate:[a-z0-9_:]*[a-z0-9]|[a-z]\w*_(?:total|seconds|bytes)(?:_(?:bucket|sum|count))?)(?![\w*])")

# What Grafana puts in place of its variables; any value will do where only the form matters.
VARIABLES = {"$__rate_interval": "1m", "$__interval": "1m", "$__range": "1h",
             "$job": "headgate-.+", "$instance": ".+", "$practice": ".+"}


@dataclass
class Query:
    """A query, where it stands, and as what."""

    text: str
    where: str
    kind: str
    record: str = ""
    labels: dict = field(default_factory=dict)


@dataclass
class Metric:
    """What docs/METRICS.md says of a metric: the section that it stands in, and its labels with their values; None where
    these are not listed."""

    of: str
    labels: dict


def documented():
    """The metrics of docs/METRICS.md by their names in Prometheus, a histogram by those of its series; none without it."""
    found, section = {}, ""
    for line in METRICS.read_text().splitlines() if METRICS.exists() else []:
        if line.startswith("## "):
            section = line.removeprefix("## ")
        elif row := re.match(r"\| `[\w.]+` \| `(\w+)` \| ([^,|]+), [^|]* \| ([^|]*) \| ", line):
            name, kind, texts = row.groups()
            labels = {}
            for label, values in re.findall(r"`([\w.]+)`: ([^<]*)", texts):
                listed = values.split(", ")
                labels[label.replace(".", "_")] = listed if all(re.fullmatch(r"\w+", value) for value in listed) else None
            for suffix in ("_bucket", "_sum", "_count") if kind == "histogram" else ("",):
                found[name + suffix] = Metric(section, labels)
    return found


def with_values(text, values=None):
    """A dashboard's query with values in place of its variables, longest names first."""
    values = VARIABLES | (values or {})
    for name in sorted(values, key=len, reverse=True):
        text = text.replace(name, values[name])
    return text


def selectors(text):
    """What a query selects, [(metric, [(label, operator, value)])], and the labels of its clauses (`by`, `on`)."""
    tokens = [(m.lastgroup, m.group()) for m in TOKEN.finditer(text) if m.lastgroup != "window"]
    found, grouped, index = [], set(), 0
    while index < len(tokens):
        kind, token = tokens[index]
        after = tokens[index + 1][1] if index + 1 < len(tokens) else ""
        index += 1
        if kind != "name":
            continue
        if token in CLAUSES:
            while index < len(tokens) and tokens[index][1] != ")":
                if tokens[index][0] == "name":
                    grouped.add(tokens[index][1])
                index += 1
        elif after not in {"(", "by", "without"} and token not in WORDS:
            matchers, label, operator = [], "", ""
            found.append((token, matchers))
            while after == "{" and index < len(tokens) and tokens[index][1] != "}":
                kind, token = tokens[index]
                if kind == "name":
                    label, operator = token, ""
                elif kind == "string":
                    matchers.append((label, operator, token[1:-1]))
                else:
                    operator = operator + token if token in "=!~" else ""
                index += 1
    return found, grouped


def uses(text):
    """Which labels a query asks of which metrics: {metric: {label}}; labels of clauses stand under None."""
    found = {}
    chosen, grouped = selectors(text)
    for metric, matchers in chosen:
        found.setdefault(metric, set()).update(label for label, _, _ in matchers)
    return found | ({None: grouped} if grouped else {})


def rules(path=RULES):
    """The queries of a file of rules. It reads no YAML but the form in which ours is written: `- record:` or `- alert:`
    begins a rule, `expr:` is followed by its text or by a block that is indented deeper."""
    lines, found = path.read_text().splitlines(), []
    name = kind = ""
    for index, line in enumerate(lines):
        if begin := re.match(r"\s+- (record|alert): (\S+)$", line):
            kind, name = begin.groups()
        elif expr := re.match(r"(\s+)expr: (.*)$", line):
            indent, text = expr.groups()
            if text.strip() in ("|", ">-"):
                block = []
                for deeper in lines[index + 1:]:
                    if deeper.strip() and not deeper.startswith(indent + " "):
                        break
                    block.append(deeper.strip())
                text = "\n".join(block).strip()
            found.append(Query(text, f"rule {name}", kind, record=name))
        elif labels := re.match(r"\s+labels: \{ (.*) \}$", line):
            found[-1].labels = dict(pair.split(": ") for pair in labels.group(1).split(", "))
        elif in_text := re.search(r'range query "([^"]+)"', line):
            found.append(Query(in_text.group(1), f"text of {name}", "text", record=name))
    return found


def boards():
    """The dashboards: file name and content."""
    return [(path.name, json.loads(path.read_text())) for path in sorted(DASHBOARDS.glob("*.json"))]


def panels():
    """The queries of all dashboards: of panels, variables and annotations."""
    found = []
    for file, board in boards():
        name = file.removesuffix(".json")
        for panel in board["panels"]:
            for target in panel.get("targets", []):
                found.append(Query(target["expr"], f"{name}: {panel['title']}", "panel"))
        for variable in board["templating"]["list"]:
            if values := re.match(r"label_values\((.*), (\w+)\)$", variable.get("definition", "")):
                series, label = values.groups()
                found.append(Query(f"count by ({label}) ({series})", f"{name}: variable {variable['name']}", "panel"))
        for annotation in board["annotations"]["list"]:
            found.append(Query(annotation["expr"], f"{name}: annotation {annotation['name']}", "panel"))
    return found


def runbooks(path=RUNBOOKS):
    """The queries of the operations page: what its commands ask Prometheus, and, of the kind `prose`, what its text has
    between back quotes that names a metric."""
    if not path.exists():
        return []
    text, found = path.read_text(), []

    def add(query, place, kind):
        found.append(Query(query, f"{path.relative_to(ROOT)}:{text.count(chr(10), 0, place) + 1}", kind))

    for asked in ASKED.finditer(text):
        plain, quoted = asked.groups()
        query = re.sub(r"\n> ?", "\n", plain) if plain is not None else re.sub(r"\\(.)", r"\1", quoted)
        # The functions themselves have their argument there.
        if not re.fullmatch(r"\$\w+", query):
            add(query, asked.start(), "runbook")
    known = documented().keys()
    # Blocks keep their length and lose their back quotes.
    outside = re.sub(r"^```.*?^```$", lambda block: re.sub(r"[^\n]", " ", block.group()), text, flags=re.DOTALL | re.MULTILINE)
    for span in re.finditer(r"`([^`\n]+)`", outside):
        if MEASURED.search(span.group(1)) or known & set(re.findall(r"(?<![.\w])\w+(?![\w*])", span.group(1))):
            add(span.group(1), span.start(), "prose")
    return found


def tested(path=RULES.with_name("headgate.rules_test.yaml")):
    """The series that the rules' unit tests invent."""
    return [Query(series, f"a test's series {series}", "series")
            for series in re.findall(r"- \{ series: '([^']+)'", path.read_text())]


def needed():
    """What the running programs have to export, the recorded left out: {metric: {label: {where it is used}}}, the metric
    itself under the label "". And the labels of clauses (`by`, `on`), of which one of a query's metrics has to have
    each: [(label, metrics, where)]."""
    recorded = {query.record for query in rules() if query.kind == "record"}
    metrics, clauses = {}, []
    for query in rules() + panels() + [query for query in runbooks() if query.kind == "runbook"]:
        found = uses(with_values(query.text))
        grouped = found.pop(None, set()) - OF_TARGETS
        own = {metric: labels for metric, labels in found.items() if metric not in recorded | OF_PROMETHEUS}
        for metric, labels in own.items():
            places = metrics.setdefault(metric, {})
            places.setdefault("", set()).add(query.where)
            for label in labels - OF_TARGETS:
                places.setdefault(label, set()).add(query.where)
        for label in grouped:
            if own:
                clauses.append((label, sorted(own), query.where))
    return metrics, clauses
