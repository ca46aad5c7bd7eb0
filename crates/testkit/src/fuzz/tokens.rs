//! Token requests, and requests about tokens.

use anyhow::Result;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rand::Rng as _;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom as _;
use serde_json::{Value, json};

use super::site::Site;
use super::{Case, draw};

/// A token request with an assertion that was changed: before it was signed, or afterwards.
pub(super) fn assertion(site: &Site<'_>, random: &mut StdRng) -> Result<Case> {
    let urls = site.token_urls();
    let url = urls.choose(random).map_or(urls[0].as_str(), String::as_str);
    let mut claims = site.client.claims(url);
    let assertion = match random.random_range(0..5) {
        0 => {
            draw::mutate(random, &mut claims);
            // What is no object cannot be signed as claims.
            if claims.is_object() { site.client.key.sign(&claims)? } else { draw::text(random) }
        }
        1 => {
            let name =
                ["iss", "sub", "aud", "exp", "iat", "nbf", "jti"].choose(random).copied().unwrap_or("exp");
            claims[name] = draw::value(random, 2);
            site.client.key.sign(&claims)?
        }
        2 => draw::damage(random, &site.client.key.sign(&claims)?),
        3 => with_header(random, &site.client.key.sign(&claims)?, site.client.key.kid()),
        _ => draw::text(random),
    };
    let form = site.client.form("system/*.rs", &assertion);
    let request = site.app.http().post(url).form(&form);
    Ok(Case { kind: "assertion", request, secrets: vec![assertion], grants: true })
}

/// Another header before the same claims and signature.
fn with_header(random: &mut StdRng, assertion: &str, kid: &str) -> String {
    let mut header = json!({ "alg": "ES384", "typ": "JWT", "kid": kid });
    for _ in 0..random.random_range(1..3) {
        let name =
            ["alg", "kid", "typ", "jku", "jwk", "x5u", "x5c", "crit", "b64", "zip", "cty"].choose(random);
        header[name.copied().unwrap_or("alg")] = draw::value(random, 2);
    }
    let rest = assertion.split_once('.').map_or("", |(_, rest)| rest);
    format!("{}.{rest}", URL_SAFE_NO_PAD.encode(header.to_string()))
}

/// A token request with a good assertion and odd scopes.
pub(super) fn scopes(site: &Site<'_>, random: &mut StdRng) -> Result<Case> {
    let url = &site.practice.token_url;
    let scope: Vec<String> = (0..random.random_range(0..6))
        .map(|_| {
            let context = draw::one_of(random, &["system", "system", "system", "user", "patient"]);
            let kind = draw::one_of(
                random,
                &["Patient", "Goal", "Device", "Observation", "*", "Nothing", "patient"],
            );
            let access =
                draw::one_of(random, &["rs", "read", "r", "s", "*", "cruds", "write", "cud", "rs?a=b"]);
            if random.random_bool(0.1) { draw::text(random) } else { format!("{context}/{kind}.{access}") }
        })
        .collect();
    let assertion = site.client.assertion(url)?;
    let joint = if random.random_bool(0.9) { " " } else { "," };
    let request = site.app.http().post(url).form(&site.client.form(&scope.join(joint), &assertion));
    Ok(Case { kind: "scopes", request, secrets: vec![assertion], grants: true })
}

/// A token request whose form was changed, or that is none.
pub(super) fn form(site: &Site<'_>, random: &mut StdRng) -> Result<Case> {
    let urls = site.token_urls();
    let url = urls.choose(random).map_or(urls[0].as_str(), String::as_str);
    let assertion = site.client.assertion(url)?;
    let mut form = site.client.form("system/*.rs", &assertion);
    for _ in 0..random.random_range(0..4) {
        let at = random.random_range(0..form.len().max(1));
        match random.random_range(0..5) {
            0 if at < form.len() => drop(form.remove(at)),
            1 if at < form.len() => form[at].1 = draw::text(random),
            2 if at < form.len() => form[at].0 = draw::text(random),
            3 if at < form.len() => form.push(form[at].clone()),
            _ => form.push((
                draw::one_of(random, &["resource", "scope", "client_id", "client_secret"]),
                draw::text(random),
            )),
        }
    }
    let mut request = site.app.http().post(url);
    request = match random.random_range(0..4) {
        0 => request
            .header("Content-Type", "application/x-www-form-urlencoded")
            .body(draw::bytes(random, 2_000)),
        1 => request
            .json(&form.into_iter().map(|(n, v)| (n, Value::from(v))).collect::<serde_json::Map<_, _>>()),
        _ => request.form(&form),
    };
    Ok(Case { kind: "form", request, secrets: vec![assertion], grants: true })
}

/// Introspection or revocation of what may be a token.
pub(super) fn about(site: &Site<'_>, random: &mut StdRng) -> Result<Case> {
    let [_, token_url] = site.token_urls();
    let path = if random.random_bool(0.5) { "introspect" } else { "revoke" };
    let url = match path {
        "introspect" => format!("{token_url}/introspect"),
        _ => {
            format!("{}/revoke", token_url.rsplit_once('/').map_or(token_url.as_str(), |(parent, _)| parent))
        }
    };
    // Never the good token itself: it would be revoked.
    let token = if random.random_bool(0.5) { draw::damage(random, &site.token) } else { draw::text(random) };
    let token = if token == site.token { String::new() } else { token };
    let assertion = site.client.assertion(&url)?;
    let mut form = site.client.form("", &assertion);
    form.push(("token".to_owned(), token));
    if random.random_bool(0.3) {
        form.push((draw::one_of(random, &["token_type_hint", "token"]), draw::text(random)));
    }
    let mut request = site.app.http().post(&url).form(&form);
    if random.random_bool(0.2) {
        request = request.bearer_auth(&site.token);
    }
    Ok(Case { kind: path, request, secrets: vec![assertion, site.token.clone()], grants: false })
}
