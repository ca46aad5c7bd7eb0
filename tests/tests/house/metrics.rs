//! That `docs/METRICS.md` is what the program defines. `METRICS_UPDATE=1` writes it anew.

use std::fmt::Write as _;

use headgate_metrics::{Definition, Values, definitions};

use crate::{root, text};

const PAGE: &str = "docs/METRICS.md";

#[test]
fn the_page_of_the_metrics_is_made_from_their_definitions() {
    let page = page();
    if std::env::var_os("METRICS_UPDATE").is_some() {
        std::fs::write(root().join(PAGE), &page).expect("the page can be written");
    }
    assert!(text(PAGE) == page, "{PAGE} is out of date; write it anew with METRICS_UPDATE=1");
}

fn page() -> String {
    let mut page = String::from(
        "# Metrics\n\n\
        <!-- Made from crates/metrics; `METRICS_UPDATE=1 cargo test --profile demo --locked --workspace --test house` writes it anew. -->\n\n\
        Every metric that a Headgate process exports: by OTLP, where `telemetry.otlp_endpoint` names a collector, and in \
        Prometheus's text format at `/metrics` of the private listener. Names are those of OpenTelemetry, with those of \
        Prometheus beside them; HTTP, database and process metrics go by OpenTelemetry's semantic conventions, without what would tell \
        nothing here or have no bound: a scheme (a listener has one), the hosts of key sets (their spans have them), and \
        operations of a queue that carries no work. An export \
        is called *job* in its metrics, as in the field.\n\n\
        Labels are bounded: their values are listed, or are names of the program, or the numbers of practices. No label \
        holds the id of an export, a patient, a group or an app. Counters whose labels all have listed values are there \
        with 0 from the start; the others appear with their first event. A metric with a label `practice` has at most 20,000 \
        series in a process, any other 2,000; what is beyond is counted in one series, `otel_metric_overflow=\"true\"`.\n\n\
        Gauges that describe the whole fleet are sampled from the control database by every worker, and all workers say the \
        same: aggregate them with `max`, never with `sum`. A worker that cannot look any more exports none of them 45 s later, rather \
        than what it saw last. OpenTelemetry's SDK for Rust attaches no exemplars: from a metric \
        one comes to the lines of the log by time and labels, and from a line to its trace by `trace_id`.\n",
    );
    for role in ["api", "worker", "api, worker"] {
        let _infallible = writeln!(page, "\n## {}\n", heading(role));
        page.push_str(
            "| OpenTelemetry | Prometheus | Kind, unit | Labels | Meaning |\n|---|---|---|---|---|\n",
        );
        for definition in definitions().into_iter().filter(|definition| definition.role.name() == role) {
            page.push_str(&row(definition));
        }
    }
    page
}

fn heading(role: &str) -> &str {
    match role {
        "api" => "Of the API",
        "worker" => "Of workers",
        _ => "Of both",
    }
}

fn row(definition: &Definition) -> String {
    let Definition { name, unit, kind, description, labels, .. } = definition;
    let labels: Vec<String> = labels
        .iter()
        .map(|label| match label.values {
            Values::Known(values) => format!("`{}`: {}", label.name, values.join(", ")),
            Values::Bounded(of) => format!("`{}`: {of}", label.name),
        })
        .collect();
    let prometheus = definition.prometheus_name();
    format!(
        "| `{name}` | `{prometheus}` | {}, {unit} | {} | {description} |\n",
        kind.name(),
        labels.join("<br>")
    )
}
