"""Rules about metrics and alerts."""

import re

import yaml

from rendered import DEPLOY, ROOT, Rendered, matches
from rule import rule

ALERTS = ROOT / "deploy" / "observability" / "alerts" / "headgate.rules.yaml"
METRICS = ROOT / "docs" / "METRICS.md"
ADAPTER = DEPLOY / "components" / "worker-hpa" / "prometheus-adapter.values.yaml"
RUNBOOKS = "docs/OPERATIONS.md#"

# Of Prometheus itself.
BUILT_IN = {"up", "scrape_samples_scraped", "scrape_duration_seconds", "ALERTS"}
SUFFIXES = ("_bucket", "_count", "_sum")

# Words of PromQL that look like metrics.
WORDS = {
    "by", "without", "on", "ignoring", "group_left", "group_right", "and", "or", "unless", "offset", "bool", "le", "inf",
}  # fmt: skip


def alerts() -> dict:
    """The rule groups that Prometheus without an operator reads: the source of ours."""
    return yaml.safe_load(ALERTS.read_text())


def prometheus_rule() -> str:
    """The PrometheusRule that carries them."""
    head = (
        "# Made by `scripts/manifests/run alerts` from deploy/observability/alerts/headgate.rules.yaml, where the reasons stand.\n"
        "# Not to be edited.\n"
    )
    document = {
        "apiVersion": "monitoring.coreos.com/v1",
        "kind": "PrometheusRule",
        "metadata": {"name": "headgate"},
        "spec": alerts(),
    }
    return head + yaml.safe_dump(document, sort_keys=False, allow_unicode=True, width=120)


def documented() -> set[str]:
    """The Prometheus names in the list of metrics."""
    return set(re.findall(r"`([a-z][a-z0-9_]*)`", METRICS.read_text()))


def metrics_of(expression: str) -> set[str]:
    """The names of metrics in an expression: every name that is no function, label, word, or recorded by a rule."""
    text = re.sub(r'"[^"]*"|\'[^\']*\'', '""', expression)
    text = re.sub(r"\{[^}]*\}", " ", text)
    text = re.sub(r"\[[^\]]*\]", " ", text)
    text = re.sub(r"\b(by|without|on|ignoring|group_left|group_right)\s*\([^)]*\)", " ", text)
    names = re.findall(r"(?<![\w:.])([a-zA-Z_][\w:]*)(?!\s*\(|[\w:])", text)
    return {name for name in names if ":" not in name and name.lower() not in WORDS}


def unknown(expression: str, known: set[str]) -> set[str]:
    def is_known(name):
        return name in known or any(name.removesuffix(suffix) in known for suffix in SUFFIXES)

    return {name for name in metrics_of(expression) if name not in BUILT_IN and not is_known(name)}


def rules_of(rendered: Rendered) -> list[dict]:
    return [r for one in rendered.of("PrometheusRule") for group in one["spec"]["groups"] for r in group["rules"]]


def first_alert(rendered: Rendered) -> dict:
    return next(r for r in rules_of(rendered) if "alert" in r)


@rule(
    "production",
    lambda r: r.get("PodMonitor", "headgate")["spec"]["podMetricsEndpoints"][0].update(port="metrics"),
    lambda r: r.get("PodMonitor", "headgate")["spec"]["podMetricsEndpoints"][0].update(path="/"),
    lambda r: r.get("PodMonitor", "headgate")["spec"]["selector"]["matchExpressions"][0]["values"].remove("worker"),
    lambda r: r.get("PodMonitor", "headgate")["spec"]["podMetricsEndpoints"][0]["relabelings"][0].update(replacement="x"),
)
def prometheus_finds_the_pods(rendered):
    """Prometheus reads /metrics at the private port of every role, as the job headgate-ROLE that the alerts name."""
    monitors = rendered.of("PodMonitor")
    if not monitors:
        return
    found = {w.name for w in rendered.workloads for m in monitors if matches(m["spec"]["selector"], w.labels)}
    if found != {w.name for w in rendered.ours if w.kind == "Deployment"}:
        yield f"it looks at {sorted(found)}"
    for endpoint in (e for m in monitors for e in m["spec"]["podMetricsEndpoints"]):
        if (endpoint["port"], endpoint["path"]) != ("private", "/metrics"):
            yield f"it asks {endpoint['port']}{endpoint['path']}"
        job = [r for r in endpoint.get("relabelings", []) if r["targetLabel"] == "job"]
        if [r["replacement"] for r in job] != ["headgate-$1"]:
            yield "the job is another"


@rule(
    "production",
    lambda r: r.get("PodMonitor", "headgate")["metadata"]["labels"].pop("release"),
    lambda r: r.get("PrometheusRule", "headgate")["metadata"]["labels"].update(release="other"),
)
def the_operator_selects_them(rendered):
    """In production PodMonitor and PrometheusRule have the label, and the same, that the Prometheus Operator selects by."""
    if rendered.name != "production":
        return
    labels = {(o["metadata"].get("labels") or {}).get("release") for o in rendered.of("PodMonitor", "PrometheusRule")}
    if len(labels) != 1 or None in labels:
        yield f"the label release is {labels}"


@rule("production", lambda r: r.get("PrometheusRule", "headgate")["spec"]["groups"].pop())
def alerts_are_those_of_the_repository(rendered):
    """The PrometheusRule has the rules of deploy/observability, letter by letter."""
    for one in rendered.of("PrometheusRule"):
        if not ALERTS.is_file():
            yield f"there is no {ALERTS.relative_to(ROOT)}"
        elif one["spec"] != alerts():
            yield "it differs; make it anew: scripts/manifests/run alerts"


@rule(
    "production",
    lambda r: first_alert(r)["annotations"].pop("runbook_url"),
    lambda r: first_alert(r)["labels"].update(severity="info"),
)
def alerts_have_a_runbook(rendered):
    """Every alert has a severity, a summary, a description, and a runbook that is named after it."""
    for alert in (r for r in rules_of(rendered) if "alert" in r):
        annotations = alert.get("annotations", {})
        if alert.get("labels", {}).get("severity") not in ("page", "ticket"):
            yield f"{alert['alert']} has no severity"
        if not annotations.get("summary") or not annotations.get("description"):
            yield f"{alert['alert']} does not say what is the matter"
        if not annotations.get("runbook_url", "").endswith(RUNBOOKS + alert["alert"].lower()):
            yield f"{alert['alert']} has no runbook"


@rule(
    "production",
    lambda r: first_alert(r).update(expr="rate(headgate_never_heard_of_total[5m]) > 0"),
)
def alerts_ask_for_metrics_that_exist(rendered):
    """Every metric in an alert, and in the rules of prometheus-adapter, is in docs/METRICS.md."""
    if not METRICS.is_file():
        yield "there is no docs/METRICS.md"
        return
    known = documented()
    for one in rules_of(rendered):
        for name in sorted(unknown(one["expr"], known)):
            yield f"{one.get('alert') or one['record']}: there is no metric {name}"
    for kind in yaml.safe_load(ADAPTER.read_text())["rules"].values():
        for one in kind:
            asked = one["seriesQuery"] + " or " + re.sub(r"<<[^>]*>>", "", one["metricsQuery"])
            yield from (f"prometheus-adapter: there is no metric {n}" for n in sorted(unknown(asked, known)))


@rule(
    "alternatives",
    lambda r: r.of("HorizontalPodAutoscaler")[0]["spec"]["metrics"][1]["pods"]["metric"].update(name="requests"),
)
def autoscalers_ask_for_what_the_adapter_gives(rendered):
    """Every custom or external metric of an autoscaler is made by the rules for prometheus-adapter."""
    rules = yaml.safe_load(ADAPTER.read_text())["rules"]
    given = {(kind, one["name"]["as"]) for kind, ones in rules.items() for one in ones}
    for one in rendered.of("HorizontalPodAutoscaler"):
        for metric in one["spec"]["metrics"]:
            if metric["type"] == "Pods" and ("custom", metric["pods"]["metric"]["name"]) not in given:
                yield f"nobody gives {metric['pods']['metric']['name']}"
            if metric["type"] == "External" and ("external", metric["external"]["metric"]["name"]) not in given:
                yield f"nobody gives {metric['external']['metric']['name']}"
