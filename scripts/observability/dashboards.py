"""Writes the Grafana dashboards of deploy/observability/dashboards, so that all five are made alike.

    dashboards.py            write them
    dashboards.py --check    say which differ from what would be written; status 1 then

A board is a list of rows, a row a list of panels, a panel one call below. Queries are PromQL on the metrics of
docs/METRICS.md; `{S}` in them becomes the selection by the variables of the board.
"""

import json
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
OUT = ROOT / "deploy/observability/dashboards"

# Where an installation publishes docs/OPERATIONS.md; the same base as in the rules.
RUNBOOKS = "https://headgate.example/docs/OPERATIONS.md"
# Dashboard model of Grafana 10.4 and 11; later ones migrate it when they load it.
SCHEMA = 39
COLUMNS = 24

SELECTION = 'job=~"$job",instance=~"$instance"'
OF_PRACTICE = SELECTION + ',practice=~"$practice"'
PUBLIC = SELECTION + ',listener="public"'
OBJECTIVE_ROUTES = PUBLIC + ',http_route=~"kick_off|status"'
# Answers with 5xx, without those that the protocol asks for; the same as in the rules.
ERRORS_OF_OURS = 'http_response_status_code=~"5..",error_type!~"export_failed|never_refreshed"'

GREEN, YELLOW, RED = "green", "yellow", "red"
MIB = 1024 * 1024
HOUR = 3600
DAY = 24 * HOUR


def added(by):
    """The sum by these labels, or of all."""
    return f"sum by ({by}) " if by else "sum"


def rate(metric, by="", where="{S}"):
    """Events a second."""
    return f"{added(by)}(rate({metric}{{{where}}}[$__rate_interval]))"


def events(metric, by="", where="{S}"):
    """Events between two points of the graph: for what is rare, where a rate says nothing."""
    return f"{added(by)}(increase({metric}{{{where}}}[$__rate_interval]))"


def begun(metric, by="", where="{S}", window="$__rate_interval"):
    """The same of counters whose series begin with their first event, as those by practice: at 1 and not at 0, which
    increase() would not count. What was not there before counts with its value."""
    series = f"{metric}{{{where}}}"
    return (f"{added(by)}((increase({series}[{window}]) and {series} offset {window})"
            f" or (max_over_time({series}[{window}]) unless {series} offset {window}))")


def quantile(q, metric, by="", where="{S}"):
    """A quantile of a histogram, by its labels."""
    groups = "le" + (f", {by}" if by else "")
    return f"histogram_quantile({q}, sum by ({groups}) (rate({metric}_bucket{{{where}}}[$__rate_interval])))"


def quantiles(metric, where="{S}"):
    """The three that are read together."""
    return [(quantile(q, metric, where=where), name) for q, name in ((0.5, "median"), (0.95, "95 %"), (0.99, "99 %"))]


def fleet(metric, by="", where="{S}"):
    """A gauge that every worker samples out of the control database: all show the same, so never the sum."""
    return f"max by ({by}) ({metric}{{{where}}})" if by else f"max({metric}{{{where}}})"


def within(metric, seconds, where):
    """The share of a histogram below one of its bounds. Prometheus 3 writes a whole number as 60.0, 2 as it came."""
    bound = f'le="{seconds}"' if "." in seconds else f'le=~"{seconds}|{seconds}.0"'
    return f"sum(rate({metric}_bucket{{{where},{bound}}}[$__range])) / sum(rate({metric}_count{{{where}}}[$__range]))"


class Panel:
    """A panel: kind, title, what to read from it, queries with their legends, unit, thresholds, alert."""

    def __init__(self, kind, title, says, queries, unit="short", limits=(), alert=None, width=8, height=8,
                 falling=False, stack=False, bars=False, top=None):
        self.kind, self.title, self.says, self.unit, self.limits = kind, title, says, unit, limits
        self.queries = [(queries, "")] if isinstance(queries, str) else queries
        self.alert, self.width, self.height, self.falling = alert, width, height, falling
        self.stack, self.bars, self.top = stack, bars, top

    def thresholds(self):
        """From good to bad as the value rises, or falls."""
        colours = {1: [GREEN, RED], 2: [GREEN, YELLOW, RED]}.get(len(self.limits), [GREEN])
        if self.falling:
            colours.reverse()
        values = [None, *sorted(self.limits)]
        return {"mode": "absolute", "steps": [{"color": c, "value": v} for c, v in zip(colours, values)]}

    def defaults(self):
        """How all series of the panel are shown."""
        shown = {"unit": self.unit, "thresholds": self.thresholds()}
        if self.unit == "percentunit":
            shown |= {"min": 0, "max": 1}
        elif self.kind == "timeseries":
            shown["min"] = 0
        if self.top is not None:
            shown["max"] = self.top
        if self.kind == "timeseries":
            shown["color"] = {"mode": "palette-classic"}
            shown["custom"] = {
                "drawStyle": "bars" if self.bars else "line",
                "lineWidth": 1,
                "fillOpacity": 60 if self.bars else (25 if self.stack else 8),
                "showPoints": "never",
                "stacking": {"mode": "normal" if self.stack or self.bars else "none", "group": "A"},
                "thresholdsStyle": {"mode": "dashed" if self.limits else "off"},
            }
        else:
            shown["color"] = {"mode": "thresholds"}
        return shown

    def options(self):
        """What Grafana wants for each kind of panel."""
        last = {"calcs": ["lastNotNull"], "fields": "", "values": False}
        if self.kind == "timeseries":
            return {"legend": {"displayMode": "list", "placement": "bottom", "calcs": []},
                    "tooltip": {"mode": "multi", "sort": "desc"}}
        if self.kind == "table":
            return {"showHeader": True, "cellHeight": "sm"}
        return {"reduceOptions": last, "colorMode": "value", "graphMode": "area", "justifyMode": "auto",
                "orientation": "auto", "textMode": "auto"}

    def model(self, number, x, y):
        """The panel as Grafana stores it."""
        instant = self.kind == "table"
        targets = []
        for index, (query, legend) in enumerate(self.queries):
            target = {"refId": chr(ord("A") + index), "expr": query.replace("{S}", SELECTION),
                      "datasource": {"type": "prometheus", "uid": "${datasource}"},
                      "legendFormat": legend or "__auto", "range": not instant, "instant": instant}
            if instant:
                target["format"] = "table"
            targets.append(target)
        model = {"id": number, "type": self.kind, "title": self.title, "description": self.says,
                 "datasource": {"type": "prometheus", "uid": "${datasource}"},
                 "gridPos": {"h": self.height, "w": self.width, "x": x, "y": y},
                 "fieldConfig": {"defaults": self.defaults(), "overrides": []},
                 "options": self.options(), "targets": targets}
        if self.bars:
            # A bar a minute at most: then windows hardly overlap, and an event is in one bar.
            model["interval"] = "1m"
        if instant:
            model["transformations"] = [
                {"id": "merge", "options": {}},
                {"id": "organize", "options": {
                    "excludeByName": {"Time": True},
                    "renameByName": {f"Value #{chr(ord('A') + i)}": legend
                                     for i, (_, legend) in enumerate(self.queries)}}}]
        if self.alert:
            model["links"] = [{"title": f"Runbook: {self.alert}", "targetBlank": True,
                               "url": f"{RUNBOOKS}#{self.alert.lower()}"}]
        return model


def graph(title, says, queries, unit="short", **more):
    """Lines over time."""
    return Panel("timeseries", title, says, queries, unit, **more)


def rare(title, says, queries, **more):
    """What should not happen, as bars: how often since the last bar."""
    return Panel("timeseries", title, says, queries, "short", bars=True, **more)


def stat(title, says, query, unit="short", **more):
    """One figure."""
    return Panel("stat", title, says, query, unit, width=more.pop("width", 4), height=4, **more)


def table(title, says, queries, **more):
    """A row for each combination of labels, a column for each query."""
    return Panel("table", title, says, queries, width=more.pop("width", 24), **more)


HTTP = "http_server_request_duration_seconds"

SERVICE = [
    ("Objectives, over the time shown", [
        stat("Kick-off and status answered", "Share of kick-off and status requests not answered with 5xx, but those of exports that failed and of practices not read yet. Objective: 99.9 %.",
             f'1 - (sum(rate({HTTP}_count{{{OBJECTIVE_ROUTES},{ERRORS_OF_OURS}}}[$__range])) or vector(0))'
             f" / sum(rate({HTTP}_count{{{OBJECTIVE_ROUTES}}}[$__range]))",
             "percentunit", limits=(0.999, 0.9995), falling=True, alert="HeadgateApiErrorBudgetBurn"),
        stat("Tokens within 0.5 s", "Share of token requests answered within 0.5 s. Objective: 99 %.",
             within(HTTP, "0.5", PUBLIC + ',http_route="token"'), "percentunit", limits=(0.99, 0.995), falling=True,
             alert="HeadgateTokenLatency"),
        stat("Shards started within 60 s", "Share of shards that a worker took within 60 s of being runnable. Objective: 95 %.",
             within("export_shard_start_delay_seconds", "60", "{S}"), "percentunit", limits=(0.95, 0.98), falling=True,
             alert="HeadgateShardsStartLate"),
        stat("Exports in time", "Share of completed exports that took at most 10 min and a second per 2000 resources. Objective: 99 %.",
             f"1 - ({begun('export_jobs_late_total', window='$__range')} or vector(0))"
             f""" / {begun('export_jobs_finished_total', where='{S},outcome="completed"', window='$__range')}""",
             "percentunit", limits=(0.99, 0.995), falling=True, alert="HeadgateExportsLate"),
        stat("Alerts that page", "Alerts of severity page that fire now. Prometheus' own page /alerts names them.",
             'count(ALERTS{alertname=~"Headgate.+",alertstate="firing",severity="page"}) or vector(0)', limits=(1,)),
        stat("Processes", "Processes that are ready to serve or to work, of those that answer Prometheus.", "sum(process_ready{{S}})",
             limits=(1, 2), falling=True, alert="HeadgateApiNotReady"),
    ]),
    ("Requests of apps (public listener)", [
        graph("Rate by route", "Requests a second. `none`: paths that mean nothing.", [(rate(f"{HTTP}_count", "http_route", PUBLIC), "{{http_route}}")],
              "reqps", stack=True),
        graph("Errors of ours", "Share of all requests of a route that were answered with 5xx, but those of exports that failed and of practices not read yet.",
              [((f'sum by (http_route) (rate({HTTP}_count{{{PUBLIC},{ERRORS_OF_OURS}}}[$__rate_interval]))'
                f" / on (http_route) sum by (http_route) (rate({HTTP}_count{{{PUBLIC}}}[$__rate_interval]))"), "{{http_route}}")],
              "percentunit", limits=(0.001, 0.0144), top=0.05, alert="HeadgateApiErrorBudgetBurn"),
        graph("Duration", "Of all routes. Files are redirects: their bytes come from S3, not from here.", quantiles(HTTP, PUBLIC), "s"),
        graph("Duration by route, 99 %", "The slowest hundredth of each route.", [(quantile(0.99, HTTP, "http_route", PUBLIC), "{{http_route}}")],
              "s", limits=(0.5,), alert="HeadgateTokenLatency"),
        graph("Refusals of clients", "4xx by route and status. 401 and 403: Security board; 429: apps that poll too often.",
              [(rate(f"{HTTP}_count", "http_route, http_response_status_code", PUBLIC + ',http_response_status_code=~"4.."'),
                "{{http_route}} {{http_response_status_code}}")], "reqps", stack=True),
        graph("In progress", "Requests being answered. A growing number is a slow database.",
              [("sum by (listener) (http_server_active_requests{{S}})", "{{listener}}")]),
    ]),
    ("Exports seen by apps", [
        graph("Polls by answer", "202: still running; 200: the manifest; 429: too early.", [(rate("export_poll_total", "code"), "{{code}}")], "reqps", stack=True),
        graph("Polls that come too early", "Share answered 429.",
              'sum(rate(export_poll_total{{S},code="429"}[$__rate_interval])) / sum(rate(export_poll_total{{S}}[$__rate_interval]))',
              "percentunit", limits=(0.2,), alert="HeadgatePollsThrottled"),
        graph("Kick-offs refused", "By the status of the answer and the reason, since the point before.",
              [(begun("export_kickoff_rejected_total", "code, reason"), "{{code}} {{reason}}")], bars=True),
        graph("Downloads", "Requests of files by outcome: redirected to a link of S3, refused, or gone.",
              [(rate("export_downloads_total", "outcome"), "{{outcome}}")], "reqps", stack=True),
        graph("Links handed out", "Signed links to files, in manifests and redirects.", [(rate("export_links_total"), "links")], "cps"),
    ]),
    ("Admin API", [
        graph("Rate by route", "Requests a second at the admin listener.",
              [(rate(f"{HTTP}_count", "http_route", SELECTION + ',listener="admin"'), "{{http_route}}")], "reqps", stack=True),
        graph("Answers by status", "5xx are errors of ours, 401 and 403 refusals.",
              [(rate(f"{HTTP}_count", "http_response_status_code", SELECTION + ',listener="admin"'), "{{http_response_status_code}}")], "reqps", stack=True),
        graph("Duration", "Lists of members take minutes; the rest should not.", quantiles(HTTP, SELECTION + ',listener="admin"'), "s"),
    ]),
    ("Processes", [
        table("Versions", "What runs. Two versions are seen during a roll-out only.",
              [("count by (job, version, schema, role) (build_info{{S}})", "processes")], width=8),
        graph("Ready", "Processes that are ready to serve or to work, by role.", [("sum by (job) (process_ready{{S}})", "{{job}}")], alert="HeadgateAdminDown"),
        graph("Up-time", "A saw is a process that is killed again and again.",
              [("process_uptime_seconds{{S}}", "{{job}} {{instance}}")], "s"),
        rare("Telemetry lost", "What the collector did not take, by signal: spans, records of the log, transmissions of metrics. Nothing waits for it.",
             [(events("telemetry_lost_total", "signal"), "{{signal}}")], alert="HeadgateTelemetryLost"),
    ]),
]

EXPORTS = [
    ("Now", [
        *[stat(f"{state.capitalize()}", says, fleet("export_jobs_in_state", where=f'{{S}},state="{state}"'))
          for state, says in (("accepted", "Exports that wait for their plan."), ("planning", "Exports that are being cut into shards."),
                              ("running", "Exports whose shards are exported."), ("finishing", "Exports whose manifest is being made."))],
        stat("Oldest running", "Age of the oldest export whose shards run.", fleet("export_job_oldest_age_seconds", where='{S},state="running"'), "s",
             limits=(3 * HOUR,), alert="HeadgateExportOld"),
        stat("Paused practices", "Practices that are paused, all when the fleet is. Their exports wait.", fleet("operations_paused"),
             limits=(1,), alert="HeadgatePausedLong"),
    ]),
    ("Exports", [
        graph("Started", "By level.", [(begun("export_jobs_started_total", "level"), "{{level}}")], bars=True),
        graph("Ended", "By outcome.", [(begun("export_jobs_finished_total", "outcome"), "{{outcome}}")], bars=True, alert="HeadgateExportsFailing"),
        rare("Late", "Completed, but in more than 10 min and a second per 2000 resources.", [(begun("export_jobs_late_total"), "late")], alert="HeadgateExportsLate"),
        graph("Duration, 95 %", "Kick-off to completion by number of resources: xs below 1,000, s 10,000, m 100,000, l 1,000,000.",
              [(quantile(0.95, "export_job_duration_seconds", "size_class"), "{{size_class}}")], "s"),
        graph("Kick-off to plan", "How long exports wait for the first worker.", quantiles("export_job_start_delay_seconds"), "s", limits=(60,)),
        graph("Oldest by state", "Time since the kick-off of the oldest export in each state. An hour beyond the line is too long, unless practices are paused.",
              [(fleet("export_job_oldest_age_seconds", "state", '{S},state!="completed"'), "{{state}}")], "s", limits=(3 * HOUR,), alert="HeadgateExportOld"),
    ]),
    ("Queue", [
        graph("Runnable", "Steps that a worker could take now.", [(fleet("export_queue_depth", "step"), "{{step}}")]),
        graph("Oldest runnable", "Shards may wait behind others of their practice; a plan or a finish that waits is a stall.",
              [(fleet("export_queue_oldest_age_seconds", "step"), "{{step}}")], "s", limits=(300,), alert="HeadgateQueueStalled"),
        graph("Doorbells", "Rung: notifications that workers got. Missing: exports that had to be rung for again, because one was lost.",
              [(events("messaging_client_consumed_messages_total"), "rung"), (events("export_queue_doorbell_missing_total"), "missing")]),
    ]),
    ("Shards", [
        graph("Runnable to taken", "Objective: 95 % within 60 s.", quantiles("export_shard_start_delay_seconds"), "s", limits=(60,), alert="HeadgateShardsStartLate"),
        graph("Duration, 95 %", "Of one hold of a shard, by how it ended.", [(quantile(0.95, "export_shard_duration_seconds", "outcome"), "{{outcome}}")], "s"),
        graph("Without progress", "The longest time that a held shard has published nothing.", fleet("export_checkpoint_age_seconds"), "s",
              limits=(300, 900), alert="HeadgateQueueStalled"),
        graph("Taken", "First: for the first time. Again: after a drain, an error or a worker's death.",
              [(rate("export_shard_attempts_total", "kind"), "{{kind}}")], "cps", stack=True),
        rare("Leases lost and shards rescued", "Lost: a worker noticed that it had lost it. Rescued: taken from a worker that was silent too long.",
             [(events("export_shard_lease_lost_total"), "lost"), (events("export_shard_rescued_total"), "rescued")], alert="HeadgateLeasesLost"),
        rare("Given up", "Quarantined shards, and uploads that were not in the bucket what was sent.",
             [(events("export_shard_quarantined_total"), "quarantined"), (events("export_files_verify_failed_total"), "not what was sent")],
             limits=(1,), alert="HeadgateShardQuarantined"),
    ]),
    ("Throughput", [
        graph("Resources", "A second, by type.", [(rate("export_resources_total", "resource_type"), "{{resource_type}}")], "cps", stack=True),
        graph("Bytes", "Read from sources and written to S3.", [(rate("export_data_bytes_total", "stage"), "{{stage}}")], "Bps"),
        graph("Files", "Published a second.", [(rate("export_files_total"), "files")], "cps"),
        graph("Page, read to framed", "A page of rows.", quantiles("export_page_duration_seconds"), "s"),
        rare("Rows rejected", "Rows that could not become resources, by reason; they are counted in the error file.",
             [(begun("export_rows_rejected_total", "reason"), "{{reason}}")], alert="HeadgateRowsRejected"),
        rare("Attachments left out", "Resources that were exported and lead by URL to attachments that were not, by reason; the error file tells so.",
             [(events("export_attachments_unserved_total", "reason"), "{{reason}}")]),
    ]),
    ("Cleaning up", [
        graph("Files that should be gone", "How long ago the oldest export ended whose files are still there.", fleet("retention_lag_seconds"), "s",
              limits=(1800, 3600), alert="HeadgateRetentionLag"),
        graph("Exports emptied", "By result.", [(events("retention_sweep_total", "result"), "{{result}}")], bars=True),
        rare("Orphans", "Objects that turned up after their export had been emptied.", [(events("export_orphans_total"), "objects")], alert="HeadgateOrphanedObjects"),
        graph("Housekeeping overdue", "By how much each task is late.", [(fleet("maintenance_overdue_seconds", "task"), "{{task}}")], "s",
              limits=(900,), alert="HeadgateSweepMissing"),
        rare("Housekeeping failed", "Runs that failed, by task; they are tried again when due.",
             [(events("maintenance_runs_total", "task", '{S},result="failed"'), "{{task}}")], alert="HeadgateMaintenanceOverdue"),
    ]),
]

PRACTICES = [
    ("Which practice", [
        table("Exports over the time shown", "By practice.",
              [(begun("export_jobs_started_total", "practice", OF_PRACTICE, "$__range"), "started")]
              + [(begun("export_jobs_finished_total", "practice", OF_PRACTICE + f',outcome="{outcome}"', "$__range"), outcome)
                 for outcome in ("completed", "failed", "cancelled", "revoked")]
              + [(begun("export_jobs_late_total", "practice", OF_PRACTICE, "$__range"), "late"),
                 (f"max by (practice) (export_transaction_time_lag_seconds{{{OF_PRACTICE}}})", "transactionTime behind, s")],
              alert="HeadgateExportsFailing", height=6),
    ]),
    ("Exports", [
        graph("Started", "By practice.", [(begun("export_jobs_started_total", "practice", OF_PRACTICE), "practice {{practice}}")], bars=True),
        graph("Completed", "By practice.", [(begun("export_jobs_finished_total", "practice", OF_PRACTICE + ',outcome="completed"'), "practice {{practice}}")], bars=True),
        rare("Failed", "By practice.", [(begun("export_jobs_finished_total", "practice", OF_PRACTICE + ',outcome="failed"'), "practice {{practice}}")], alert="HeadgateExportsFailing"),
        rare("Revoked or cancelled", "Authority was taken away while the export ran, or the app gave it up.",
             [(begun("export_jobs_finished_total", "practice, outcome", OF_PRACTICE + ',outcome=~"revoked|cancelled"'), "practice {{practice}} {{outcome}}")]),
        rare("Late", "By practice.", [(begun("export_jobs_late_total", "practice", OF_PRACTICE), "practice {{practice}}")], alert="HeadgateExportsLate"),
        rare("Consent denied", "Requests and running exports without the practice's consent, by where it was noticed.",
             [(begun("consent_denied_total", "practice, phase", OF_PRACTICE), "practice {{practice}} {{phase}}")]),
    ]),
    ("Databases of practices", [
        graph("transactionTime behind now", "How old the newest data of an export begun now would be. A transaction open for long holds it back.",
              [(fleet("export_transaction_time_lag_seconds", "practice", OF_PRACTICE), "practice {{practice}}")], "s", limits=(900,), alert="HeadgateTransactionTimeLag"),
        graph("Replica behind primary", "Practices that are exported from a replica only.",
              [(fleet("export_source_replica_lag_seconds", "practice", OF_PRACTICE), "practice {{practice}}")], "s", limits=(60, 300), alert="HeadgateReplicaLag"),
        graph("Oldest catalogue", "How long ago the catalogue of a source was read, the oldest of all practices.", fleet("source_catalog_age_seconds"), "s", limits=(2 * DAY,)),
        graph("Statements, 95 %", "Duration by operation, over all practices.",
              [(quantile(0.95, "export_source_query_duration_seconds", "operation"), "{{operation}}")], "s", limits=(30, 60)),
        graph("Statements", "A second by operation, over all practices.", [(rate("export_source_query_duration_seconds_count", "operation"), "{{operation}}")], "cps", stack=True),
        rare("Errors", "By class, over all practices. `contract`: the source is not what it said to be.",
             [(events("export_source_errors_total", "class"), "{{class}}")], alert="HeadgateSourceErrors"),
    ]),
]

SECURITY = [
    ("Must be nothing", [
        stat("Tokens at another practice", "Over the time shown. A client is misconfigured, or a token is in wrong hands.",
             "sum(increase(tenant_mismatch_total{{S}}[$__range]))", limits=(1,), alert="HeadgateTenantMismatch"),
        stat("Audit events not written", "Over the time shown.", "sum(increase(audit_write_failures_total{{S}}[$__range]))", limits=(1,), alert="HeadgateAuditWriteFailures"),
        stat("Assertions used twice", "Over the time shown. All were refused.", "sum(increase(auth_jti_replay_total{{S}}[$__range]))", limits=(1, 4), alert="HeadgateAssertionReplay"),
        stat("Audit events not sealed", "The API seals every ten seconds.", fleet("audit_unsealed")),
        stat("Certificate ends in", "The soonest of all processes.", "min(tls_certificate_remaining_seconds{{S}})", "s",
             limits=(7 * DAY, 14 * DAY), falling=True, alert="HeadgateCertificateExpiry"),
        stat("Signing key", "Age of the key that signs access tokens; token.key_rotation_s is 90 days.", fleet("auth_signing_key_age_seconds"), "s", limits=(92 * DAY,),
             alert="HeadgateSigningKeyOld"),
    ]),
    ("Tokens", [
        graph("Token requests", "By result.", [(rate("auth_token_total", "result"), "{{result}}")], "reqps", stack=True),
        graph("Refused, by error", "`invalid_client`: the assertion or the key is wrong; `invalid_scope`: nothing that was asked for is granted.",
              [(events("auth_token_total", "error", '{S},result="refused"'), "{{error}}")], bars=True, alert="HeadgateTokenRefusals"),
        graph("Share refused", "An app with a wrong key asks again and again.",
              'sum(rate(auth_token_total{{S},result="refused"}[$__rate_interval])) / sum(rate(auth_token_total{{S}}[$__rate_interval]))',
              "percentunit", limits=(0.5,), alert="HeadgateTokenRefusals"),
        graph("Duration of a token request", "Objective: 99 % within 0.5 s.", quantiles(HTTP, PUBLIC + ',http_route="token"'), "s", limits=(0.5,), alert="HeadgateTokenLatency"),
        rare("Replays and wrong practices", "Each was refused.",
             [(events("auth_jti_replay_total"), "assertion used twice"), (events("tenant_mismatch_total"), "token at another practice")], alert="HeadgateTenantMismatch"),
        rare("Keys not accepted", "Registered or fetched keys that may not be used, by reason.", [(begun("auth_key_rejected_total", "reason"), "{{reason}}")]),
    ]),
    ("Key sets", [
        graph("Fetches", "By result.",
              [(events("auth_jwks_fetch_total", "result"), "{{result}}")], bars=True, alert="HeadgateKeySetsStale"),
        graph("Duration of a fetch", "A token request waits for it, jwks.timeout_ms at most.", quantiles("http_client_request_duration_seconds"), "s", limits=(3,)),
    ]),
    ("Consent and access", [
        rare("Consent denied", "By where it was noticed.", [(begun("consent_denied_total", "phase"), "{{phase}}")]),
        rare("Admin API refused", "`unauthenticated`: no good token; `forbidden`: not this role or this practice.", [(events("admin_refused_total", "reason"), "{{reason}}")]),
        rare("Downloads refused", "Files asked for without right, or after their export ended.",
             [(events("export_downloads_total", "outcome", '{S},outcome!="redirected"'), "{{outcome}}")]),
        graph("Refused at the public listener", "401, 403 and 404 by route: a rising line is somebody who tries.",
              [(rate(f"{HTTP}_count", "http_route, http_response_status_code", PUBLIC + ',http_response_status_code=~"401|403|404"'),
                "{{http_route}} {{http_response_status_code}}")], "reqps", stack=True, width=12),
        graph("Audit trail", "How long the oldest event has been waiting for its seal.", fleet("audit_unsealed_age_seconds"), "s", limits=(60, 900),
              alert="HeadgateAuditUnsealed", width=12),
    ]),
]

CAPACITY = [
    ("Workers: utilisation, saturation, errors", [
        graph("Hands busy", "Share of all workers' hands, by kind. Near 1 for long: add workers, if shards wait.",
              [('sum by (kind) (worker_slots{{S},state="busy"}) / on (kind) sum by (kind) (worker_slots{{S},state="total"})', "{{kind}}")],
              "percentunit", limits=(0.95,), alert="HeadgateWorkerBusy"),
        graph("Shards that wait", "Runnable, and how many hands there are for them.",
              [(fleet("export_queue_depth", where='{S},step="shard"'), "waiting"), ('sum(worker_slots{{S},kind="shard",state="total"})', "hands"),
               ('sum(worker_slots{{S},kind="shard",state="busy"})', "busy")]),
        graph("Oldest that waits", "By kind of step.", [(fleet("export_queue_oldest_age_seconds", "step"), "{{step}}")], "s", limits=(300,), alert="HeadgateQueueStalled"),
        graph("Buffer in use", "Share of worker.buffer_bytes. At 1, reading waits for uploads: S3 is the bottleneck.",
              [('sum by (instance) (worker_buffer_bytes{{S},state="used"}) / on (instance) sum by (instance) (worker_buffer_bytes{{S},state="limit"})', "{{instance}}")],
              "percentunit", limits=(0.95,)),
        graph("Keeper of leases", "Time since it last renewed all. A lease lasts 30 s (lease.duration_s).",
              [("max by (instance) (worker_heartbeat_age_seconds{{S}})", "{{instance}}")], "s", limits=(10, 30), alert="HeadgateWorkerSilent"),
        graph("Resources a busy hand", "Exported a second and busy hand: the figure for sizing a fleet.",
              'sum(rate(export_resources_total{{S}}[$__rate_interval])) / (sum(avg_over_time(worker_slots{{S},kind="shard",state="busy"}[$__rate_interval])) > 0)', "cps"),
    ]),
    ("Processes", [
        graph("CPU", "Cores in use.", [("rate(process_cpu_time_seconds_total{{S}}[$__rate_interval])", "{{job}} {{instance}}")], width=6),
        graph("Memory of workers", "The lines: four fifths of the limit of the manifests, and the limit (512 MiB).",
              [('process_memory_usage_bytes{{S},job="headgate-worker"}', "{{instance}}")], "bytes", limits=(410 * MIB, 512 * MIB),
              alert="HeadgateMemoryHigh", width=6),
        graph("Memory of the API", "The lines: four fifths of the limit of the manifests, and the limit (256 MiB).",
              [('process_memory_usage_bytes{{S},job!="headgate-worker"}', "{{job}} {{instance}}")], "bytes", limits=(205 * MIB, 256 * MIB),
              alert="HeadgateMemoryHigh", width=6),
        graph("Open files", "File descriptors. An API needs one for each connection (server.max_connections).",
              [("process_open_file_descriptor_count{{S}}", "{{job}} {{instance}}")], width=6),
    ]),
    ("Control database", [
        graph("Connections in use", "Share of each process's pool (database.max_connections).",
              [('sum by (job, instance) (db_client_connection_count{{S},db_client_connection_state="used"}) / on (job, instance) sum by (job, instance) (db_client_connection_max{{S}})',
                "{{job}} {{instance}}")], "percentunit", limits=(0.9,)),
        rare("No connection in time", "Waits longer than database.acquire_timeout_s. At the API each is a 503.", [(events("db_client_connection_timeouts_total", "job"), "{{job}}")],
             alert="HeadgateConnectionTimeouts"),
        graph("Statements", "A second, the ten most frequent.",
              [('topk(10, sum by (db_query_summary) (rate(db_client_operation_duration_seconds_count{{S}}[$__rate_interval])))', "{{db_query_summary}}")], "cps"),
        graph("Slowest statements, 95 %", "The ten slowest.",
              [(f"topk(10, {quantile(0.95, 'db_client_operation_duration_seconds', 'db_query_summary', SELECTION)})",
                "{{db_query_summary}}")], "s", limits=(0.5,)),
        graph("Duration", "Of all statements at the control database.", quantiles("db_client_operation_duration_seconds", SELECTION), "s"),
    ]),
    ("S3", [
        graph("Requests", "A second by operation.", [(rate("s3_requests_total", "op"), "{{op}}")], "reqps", stack=True),
        graph("Failed", "Share of requests that were neither answered well nor for something that is not there.",
              '(sum(rate(s3_requests_total{{S},status!~"ok|missing"}[$__rate_interval])) or vector(0)) / sum(rate(s3_requests_total{{S}}[$__rate_interval]))',
              "percentunit", limits=(0.02,), alert="HeadgateStorageErrors"),
        graph("Duration, 95 %", "By operation, without retries.", [(quantile(0.95, "s3_request_duration_seconds", "op"), "{{op}}")], "s"),
        rare("Failed, by status", "`throttled`: S3 asks to slow down; `denied`: credentials or policy.",
             [(events("s3_requests_total", "op, status", '{S},status!~"ok|missing"'), "{{op}} {{status}}")], alert="HeadgateStorageErrors"),
        rare("Retries", "Uploads that were sent again.", [(events("s3_retries_total"), "sent again")]),
        graph("Bytes written", "To S3.", [(rate("export_data_bytes_total", "stage", '{S},stage="written"'), "{{stage}}")], "Bps"),
    ]),
]

BOARDS = [
    ("service", "Headgate: service", "Objectives and the API: rate, errors and duration of requests.", SERVICE),
    ("exports", "Headgate: export pipeline", "From kick-off to purge: exports, queue, shards, throughput, cleaning up.", EXPORTS),
    ("practices", "Headgate: practices", "Exports and databases by practice number.", PRACTICES),
    ("security", "Headgate: security", "Tokens, key sets, consent, refusals, audit trail, certificates.", SECURITY),
    ("capacity", "Headgate: capacity", "Utilisation, saturation and errors of workers, database and S3.", CAPACITY),
]


def variable(name, label, query, more=()):
    """A choice of label values, all at first."""
    return {"name": name, "label": label, "type": "query", "query": {"query": query, "refId": "variable"},
            "datasource": {"type": "prometheus", "uid": "${datasource}"}, "definition": query,
            "refresh": 2, "sort": 3, "multi": True, "includeAll": True, "allValue": ".+",
            "current": {"text": ["All"], "value": ["$__all"]}, **dict(more)}


def variables(name):
    """What can be chosen at the top of a board."""
    chosen = [{"name": "datasource", "label": "Data source", "type": "datasource", "query": "prometheus",
               "current": {}, "hide": 0},
              variable("job", "Role", 'label_values(build_info{job=~"headgate-.+"}, job)', {"allValue": "headgate-.+"}.items()),
              variable("instance", "Process", 'label_values(build_info{job=~"$job"}, instance)')]
    if name == "practices":
        chosen.append(variable("practice", "Practice", 'label_values(export_jobs_started_total{job=~"headgate-.+"}, practice)'))
    return chosen


def panels(rows):
    """The rows' panels, from left to right and top to bottom."""
    models, number, y = [], 0, 0
    for title, row in rows:
        number += 1
        models.append({"id": number, "type": "row", "title": title, "collapsed": False, "panels": [],
                       "gridPos": {"h": 1, "w": COLUMNS, "x": 0, "y": y}})
        x, y, tallest = 0, y + 1, 0
        for panel in row:
            number += 1
            if x + panel.width > COLUMNS:
                x, y, tallest = 0, y + tallest, 0
            models.append(panel.model(number, x, y))
            x, tallest = x + panel.width, max(tallest, panel.height)
        y += tallest
    return models


def board(name, title, says, rows):
    """A dashboard as a file of Grafana's provisioning: a fixed uid, no id, no inputs to be asked for."""
    return {
        "uid": f"headgate-{name}", "title": title, "description": says, "tags": ["headgate"],
        "schemaVersion": SCHEMA, "version": 1, "editable": False, "graphTooltip": 1, "refresh": "30s",
        "timezone": "utc", "time": {"from": "now-6h", "to": "now"}, "weekStart": "",
        "annotations": {"list": [{
            "name": "Alerts", "enable": True, "hide": False, "iconColor": RED, "type": "dashboard", "builtIn": 0,
            "datasource": {"type": "prometheus", "uid": "${datasource}"},
            "expr": 'ALERTS{alertname=~"Headgate.+",alertstate="firing",severity="page"}',
            "titleFormat": "{{alertname}}", "step": "60s"}]},
        "links": [
            {"title": "Headgate", "type": "dashboards", "tags": ["headgate"], "asDropdown": False,
             "includeVars": True, "keepTime": True, "icon": "dashboard"},
            {"title": "Runbooks", "type": "link", "url": RUNBOOKS, "icon": "doc", "targetBlank": True}],
        "templating": {"list": variables(name)},
        "panels": panels(rows),
    }


def texts():
    """File name and content of all boards."""
    return {f"headgate-{name}.json": json.dumps(board(name, *rest), indent=1, ensure_ascii=False) + "\n"
            for name, *rest in BOARDS}


def stale():
    """The files that differ from what would be written, are missing or too many."""
    wanted = texts()
    present = {path.name: path.read_text() for path in OUT.glob("*.json")}
    return sorted(name for name in wanted.keys() | present.keys() if wanted.get(name) != present.get(name))


def main():
    if "--check" in sys.argv[1:]:
        for name in stale():
            print(f"{OUT.relative_to(ROOT)}/{name} is not what scripts/observability/dashboards.py writes; run it")
        return 1 if stale() else 0
    for name, text in texts().items():
        (OUT / name).write_text(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
