//! HTTP: the OpenTelemetry semantic conventions for HTTP metrics.

use crate::definition::{Label, Role};
use crate::instrument::{Histogram, UpDownCounter};

const METHOD: Label = Label::bounded("http.request.method", "the methods of HTTP, and _OTHER");
const LISTENER: Label = Label::known("listener", &["public", "admin"]);

/// See its description.
pub static SERVER_REQUEST_DURATION: Histogram = Histogram::seconds(
    Role::Api,
    "http.server.request.duration",
    &[
        METHOD,
        Label::bounded("http.route", "the operations of the public listener, the paths of the admin API"),
        Label::bounded("http.response.status_code", "the status codes of HTTP"),
        LISTENER,
        Label::bounded("error.type", "the reasons of answers of 500 and above; none: another status"),
    ],
    "Time from a request's headers to its response's headers.",
);

/// See its description.
pub static SERVER_ACTIVE_REQUESTS: UpDownCounter = UpDownCounter::new(
    Role::Api,
    "http.server.active_requests",
    "{request}",
    &[METHOD, LISTENER],
    "Requests that are being answered.",
);

/// See its description.
pub static CLIENT_REQUEST_DURATION: Histogram = Histogram::seconds(
    Role::Api,
    "http.client.request.duration",
    &[Label::bounded("error.type", "the kinds of failure of fetching a key set; none: it was fetched")],
    "Time that fetching a key set took, of an app or of an issuer elsewhere.",
);
