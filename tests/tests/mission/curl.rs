//! The documented requests as `curl` sends them.

use anyhow::Result;
use headgate_testkit::reqwest::{Client, Method, RequestBuilder};
use headgate_testkit::{Answer, BulkClient};

/// The scopes of the documentation's example: 20 types, and one of them twice.
pub const SCOPES: &str = "system/AllergyIntolerance.rs system/CarePlan.rs system/CareTeam.rs \
    system/DocumentReference.rs system/DiagnosticReport.rs system/CarePlan.rs system/Goal.rs system/Condition.rs \
    system/Immunization.rs system/Observation.rs system/Medication.rs system/MedicationRequest.rs \
    system/Patient.rs system/Procedure.rs system/Provenance.rs system/Device.rs system/Encounter.rs \
    system/Organization.rs system/Practitioner.rs system/PractitionerRole.rs system/Location.rs";

/// The documentation's request for a token.
///
/// ```text
/// curl --location --request POST '{token_url}' \
///   --header 'client_assertion: {assertion}' \
///   --header 'Content-Type: application/x-www-form-urlencoded' \
///   --data-urlencode 'client_id={client_id}' \
///   --data-urlencode 'scope={scope}' \
///   --data-urlencode 'encryption_method=ES384' \
///   --data-urlencode 'grant_type=client_credentials' \
///   --data-urlencode 'client_assertion_type=urn:ietf:params:oauth:client-assertion-type:jwt-bearer' \
///   --data-urlencode 'client_assertion={assertion}'
/// ```
pub fn token_request(
    http: &Client,
    token_url: &str,
    client_id: &str,
    scope: &str,
    assertion: &str,
) -> RequestBuilder {
    let fields = [
        ("client_id", client_id),
        ("scope", scope),
        ("encryption_method", "ES384"),
        ("grant_type", "client_credentials"),
        ("client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"),
        ("client_assertion", assertion),
    ];
    let fields = fields.map(|(name, value)| format!("{name}={}", urlencoded(value)));
    http.post(token_url)
        .header("client_assertion", assertion)
        .header("Content-Type", "application/x-www-form-urlencoded")
        .body(fields.join("&"))
}

/// The documentation's kick-off, with the URL as it is printed.
///
/// ```text
/// curl --location --request GET '{url}' \
///   --header 'Accept: application/fhir+json' \
///   --header 'Prefer: respond-async' \
///   --header 'Authorization: Bearer {token}'
/// ```
pub async fn kick_off(client: &BulkClient, url: &str) -> Result<Answer> {
    let request = client.request(Method::GET, url);
    Answer::to(request.header("Accept", "application/fhir+json").header("Prefer", "respond-async")).await
}

/// As `--data-urlencode` does it.
fn urlencoded(text: &str) -> String {
    let mut out = String::new();
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => out.push(char::from(byte)),
            _ => out.push_str(&format!("%{byte:02X}")),
        }
    }
    out
}
