//! Why requests of apps were refused, for their vendors to see. Counted here and written down once a second, so that
//! a flood of refusals costs the control database no more than a single one.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use headgate_domain::ClientId;
use headgate_store::{NewRefusal, Store, within};
use http::request::Parts;

use crate::error::ApiError;
use crate::extract::address::client_address;
use crate::state::ApiState;

/// Apps and reasons that are counted at a time. Only apps that exist are, so this is never reached by those outside.
const MOST: usize = 10_000;

/// Longest description, in characters.
const LONGEST: usize = 500;

/// The refusals that are not yet in the control database.
#[derive(Debug, Default)]
pub(crate) struct Refusals(Mutex<HashMap<(ClientId, &'static str), Counted>>);

#[derive(Debug)]
struct Counted {
    occurrences: u64,
    description: String,
    kid: Option<String>,
    address: String,
}

impl Refusals {
    fn count(&self, client: ClientId, reason: &'static str, last: Counted) {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let full = counts.len() >= MOST;
        match counts.get_mut(&(client.clone(), reason)) {
            Some(counted) => {
                let occurrences = counted.occurrences + last.occurrences;
                *counted = Counted { occurrences, ..last };
            }
            None if full => {}
            None => {
                counts.insert((client, reason), last);
            }
        }
    }

    /// Writes down what was counted, in this time. What fails is lost: it is a help, not a record.
    pub(crate) async fn flush(&self, store: &Store, patience: Duration) {
        let counts = std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner));
        let written = within(patience, async {
            for ((client, reason), counted) in counts {
                let new = NewRefusal {
                    client: &client,
                    reason,
                    description: &counted.description,
                    occurrences: counted.occurrences,
                    kid: counted.kid.as_deref(),
                    address: &counted.address,
                };
                store.count_refusals(&new).await?;
            }
            Ok::<(), headgate_store::Error>(())
        });
        if let Err(error) = written.await {
            tracing::warn!(%error, "refused token requests could not be counted");
        }
    }
}

/// A request to the token endpoint or one beside it: what is known so far of who makes it.
#[derive(Debug)]
pub(super) struct Attempt {
    address: Option<IpAddr>,
    /// An app that exists, and that the request claims to come from.
    pub(super) client: Option<ClientId>,
    /// The key id that it names.
    pub(super) kid: Option<String>,
}

impl Attempt {
    pub(super) fn of(state: &ApiState, request: &Parts) -> Self {
        let address = client_address(request, state.config().forwarded_hops);
        Self { address, client: None, kid: None }
    }

    pub(super) fn address(&self) -> Option<IpAddr> {
        self.address
    }

    /// The address as text, for the audit trail and the claims.
    pub(super) fn address_text(&self) -> String {
        self.address.map_or_else(|| "unknown".to_owned(), |address| address.to_string())
    }

    /// Counts a refusal where the app is known. What is not the app's fault is none.
    pub(super) fn settle<T>(self, state: &ApiState, result: Result<T, ApiError>) -> Result<T, ApiError> {
        if let (Err(error), Some(client)) = (&result, &self.client)
            && let Some((reason, description)) = refusal(error)
        {
            let last = Counted {
                occurrences: 1,
                description: plain(description).take(LONGEST).collect(),
                // Key ids are ours to show when they could be one of the app's.
                kid: self.kid.as_deref().filter(|kid| plain(kid).eq(kid.chars())).map(str::to_owned),
                address: self.address_text(),
            };
            state.refusals().count(client.clone(), reason, last);
        }
        result
    }
}

fn refusal(error: &ApiError) -> Option<(&'static str, &str)> {
    match error {
        ApiError::OAuth { description, reason, .. } | ApiError::NotAuthenticated { description, reason } => {
            Some((reason, description))
        }
        ApiError::TooManyTokenRequests(_) => Some(("too_many_token_requests", "too many token requests")),
        _ => None,
    }
}

/// A text without control characters, which no database and no screen wants.
fn plain(text: &str) -> impl Iterator<Item = char> {
    text.chars().filter(|c| !c.is_control())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn last(occurrences: u64, description: &str) -> Counted {
        Counted {
            occurrences,
            description: description.to_owned(),
            kid: None,
            address: "192.0.2.1".to_owned(),
        }
    }

    #[test]
    fn a_flood_of_refusals_is_one_count_with_what_was_said_last() {
        let refusals = Refusals::default();
        let app = ClientId::from_random([1; 25]);
        for n in 0..1000 {
            refusals.count(app.clone(), "expired", last(1, &n.to_string()));
        }
        refusals.count(app.clone(), "wrong_aud", last(1, "x"));
        let counts = refusals.0.lock().unwrap();
        assert_eq!(counts.len(), 2);
        let counted = &counts[&(app, "expired")];
        assert_eq!((counted.occurrences, counted.description.as_str()), (1000, "999"));
    }

    #[test]
    fn the_counts_are_bounded() {
        let refusals = Refusals::default();
        for n in 0..u32::try_from(MOST).unwrap() + 100 {
            let mut random = [0; 25];
            random[..4].copy_from_slice(&n.to_be_bytes());
            refusals.count(ClientId::from_random(random), "expired", last(1, ""));
        }
        assert_eq!(refusals.0.lock().unwrap().len(), MOST);
    }

    #[test]
    fn failures_of_our_own_are_no_refusals() {
        assert!(refusal(&ApiError::Unexpected("x")).is_none());
        assert!(refusal(&ApiError::Busy).is_none());
        assert!(refusal(&crate::error::OAuthError::InvalidScope.because("x")).is_some());
    }
}
