//! Whether the collector of telemetry can be reached.

use headgate_runtime::Config;
use tokio::net::TcpStream;
use url::Url;

use super::finding::Finding;

const CHECK: &str = "collector";

/// Connects to it, if one is configured. Nothing is sent.
pub async fn check(config: &Config) -> Vec<Finding> {
    let endpoint = &config.telemetry.otlp_endpoint;
    if endpoint.is_empty() {
        return vec![Finding::ok(
            CHECK,
            "none is configured; metrics are at /metrics of the private listener",
        )];
    }
    let place = Url::parse(endpoint).ok().and_then(|url| {
        Some((url.host_str()?.trim_matches(['[', ']']).to_owned(), url.port_or_known_default()?))
    });
    let reached = match place {
        Some(place) => TcpStream::connect(place).await.is_ok(),
        None => false,
    };
    vec![if reached {
        Finding::ok(CHECK, format!("{endpoint} accepts connections"))
    } else {
        // Exports go on without it.
        Finding::warning(
            CHECK,
            format!("{endpoint} cannot be reached from here: traces, metrics and logs are lost"),
            "start the collector, see telemetry.otlp_endpoint and the network policies; 4317 is gRPC, 4318 is HTTP",
        )
    }]
}
