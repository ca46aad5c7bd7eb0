//! The keys of the access tokens, as this process knows them.
//!
//! All processes share the keys in the control database, where they lie sealed. Each process looks there every
//! [`REFRESH`], and at once when a token names a key that it does not know: another process may have made one. A new
//! key is published before it signs, so that whoever keeps the key set knows it by then, and a former one verifies
//! until the last token under it has ended.
//!
//! There is one look at a time. One that failed says nothing of any key: it does not count, and those who waited for it
//! are told to try again.

use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use headgate_auth::{Keyring, PublicJwk, SigningKey};
use headgate_store::{Audit, Store, StoredKey, within};
use serde_json::json;
use tokio::sync::{Mutex, OwnedMutexGuard};
use tracing::Instrument as _;

use crate::error::ApiError;
use crate::state::{Deps, StartError};

/// How soon a process knows what another did to the keys. A key that was retired verifies that long at most.
const KNOWN_WITHIN: Duration = Duration::from_secs(30);

/// How often the control database is looked at for keys: often enough that one look may fail before all is known.
pub(crate) const REFRESH: Duration = Duration::from_secs(15);

/// How long a look may take, which is a short statement or two. A connection that died without a word takes for ever.
pub(crate) const LOOK_WITHIN: Duration = Duration::from_secs(10);

/// How soon after a look that failed comes the next one.
pub(crate) const AFTER_FAILURE: Duration = Duration::from_secs(2);

/// The least time between two looks that are made because a token names an unknown key: anybody can send one.
const LOOK_AGAIN: Duration = Duration::from_secs(5);

/// The live keys. Where another server issues the tokens there are none.
#[derive(Debug)]
pub(crate) struct Keys {
    known: Arc<RwLock<Arc<[Known]>>>,
    /// Locked while one is under way.
    looks: Arc<Mutex<Looks>>,
}

/// The looks at the control database.
#[derive(Debug, Default)]
struct Looks {
    /// When the last one began that succeeded.
    last: Option<Instant>,
    /// The same, of those that were made for a token.
    for_a_token: Option<Instant>,
    /// When the last one ended that failed.
    failed: Option<Instant>,
}

impl Looks {
    /// What to do for a token with an unknown key, asked at this time.
    fn decide(&self, asked: Instant) -> Decision {
        let meanwhile = |look: Option<Instant>| look.is_some_and(|at| at >= asked);
        if meanwhile(self.last) {
            return Decision::LookedMeanwhile;
        }
        if meanwhile(self.failed) {
            return Decision::FailedMeanwhile;
        }
        match self.for_a_token {
            Some(at) if asked.saturating_duration_since(at) < LOOK_AGAIN => Decision::TooSoon,
            _ => Decision::Look,
        }
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Decision {
    /// Another call looked while this one waited.
    LookedMeanwhile,
    /// Another call tried to.
    FailedMeanwhile,
    TooSoon,
    Look,
}

/// A key that verifies, and perhaps signs.
#[derive(Debug, Clone)]
struct Known {
    key: Arc<SigningKey>,
    created_at: DateTime<Utc>,
    signs_from: DateTime<Utc>,
    verifies_until: Option<DateTime<Utc>>,
}

impl Known {
    fn verifies(&self, now: DateTime<Utc>) -> bool {
        self.verifies_until.is_none_or(|end| now < end)
    }
}

impl Keys {
    /// No keys: for a server that takes the tokens of another issuer.
    pub(crate) fn none() -> Self {
        Self::of(Vec::new())
    }

    fn of(known: Vec<Known>) -> Self {
        Self { known: Arc::new(RwLock::new(known.into())), looks: Arc::default() }
    }

    /// Loads the keys. The first process of an installation makes one; two that start at once agree on one.
    ///
    /// # Errors
    /// When a key cannot be opened, made or stored.
    pub(crate) async fn start(store: &Store, keyring: &Keyring) -> Result<Self, StartError> {
        let now = Utc::now();
        if !store.signing_keys().await?.iter().any(|key| verifies(key, now)) {
            let key = SigningKey::generate()?;
            let sealed = keyring.seal(&sealing_context(key.kid()), key.to_pkcs8_der());
            store.ensure_signing_key(key.kid(), &sealed.map_err(StartError::Sealed)?).await?;
        }
        let known = load(store, keyring, &[]).await?.into_iter().collect::<Result<Vec<_>, _>>()?;
        if known.is_empty() {
            return Err(StartError::NoKey);
        }
        Ok(Self::of(known))
    }

    /// The key that signs now: the newest whose time has come. Where the clock of this process is behind and that of
    /// none has, the first whose time will come.
    pub(crate) fn signing(&self, now: DateTime<Utc>) -> Option<Arc<SigningKey>> {
        let known = self.known();
        let live = || known.iter().filter(|key| key.verifies(now));
        let signing = live().filter(|key| key.signs_from <= now).max_by_key(|key| key.created_at);
        signing.or_else(|| live().min_by_key(|key| key.signs_from)).map(|known| known.key.clone())
    }

    /// The public parts of all keys that verify now, those among them that will sign later.
    pub(crate) fn verifying(&self, now: DateTime<Utc>) -> Vec<PublicJwk> {
        let known = self.known();
        known.iter().filter(|key| key.verifies(now)).map(|known| known.key.public_jwk().clone()).collect()
    }

    /// Looks for a key that a token names and that is not known. `false` when there was a look for another token a
    /// moment ago.
    ///
    /// # Errors
    /// When the database fails: the key may be there.
    pub(crate) async fn look_again(&self, deps: &Deps) -> Result<bool, ApiError> {
        let asked = Instant::now();
        let looks = Arc::clone(&self.looks).lock_owned().await;
        match looks.decide(asked) {
            Decision::LookedMeanwhile => Ok(true),
            // Why is told by whoever looked.
            Decision::FailedMeanwhile => Err(ApiError::Busy),
            Decision::TooSoon => Ok(false),
            Decision::Look => {
                self.look(deps, looks, true).await?;
                Ok(true)
            }
        }
    }

    /// Whether a look has begun since then, and succeeded: only then is a key that is not known none.
    pub(crate) async fn looked_since(&self, then: Instant) -> bool {
        self.looks.lock().await.last.is_some_and(|at| at >= then)
    }

    /// How old the key is that signs.
    pub(crate) fn signing_age(&self, now: DateTime<Utc>) -> Option<Duration> {
        let signs = |key: &&Known| key.signs_from <= now && key.verifies(now);
        let newest = self.known().iter().filter(signs).map(|key| key.created_at).max()?;
        (now - newest).to_std().ok()
    }

    /// Looks at what the control database has.
    ///
    /// # Errors
    /// When the database fails: then what was known stays.
    pub(crate) async fn refresh(&self, deps: &Deps) -> Result<(), ApiError> {
        let looks = Arc::clone(&self.looks).lock_owned().await;
        self.look(deps, looks, false).await
    }

    async fn look(
        &self,
        deps: &Deps,
        looks: OwnedMutexGuard<Looks>,
        for_a_token: bool,
    ) -> Result<(), ApiError> {
        let (store, keyring, known) = (deps.store.clone(), deps.keyring.clone(), Arc::clone(&self.known));
        let before = self.known();
        let look = async move {
            let mut found = Vec::new();
            for key in load(&store, &keyring, &before).await? {
                match key {
                    Ok(key) => found.push(key),
                    // The others go on; a process that starts would refuse to.
                    Err(error) => tracing::error!(%error, "a key of the access tokens cannot be used"),
                }
            }
            *known.write().unwrap_or_else(PoisonError::into_inner) = found.into();
            Ok::<(), headgate_store::Error>(())
        };
        noted(looks, for_a_token, look).await
    }

    /// Adds a key if the newest is older than a key is to get, by the configuration.
    ///
    /// # Errors
    /// When it cannot be made or stored.
    pub(crate) async fn rotate_when_due(&self, deps: &Deps) -> Result<(), ApiError> {
        let Some(rotation) = deps.config.key_rotation else { return Ok(()) };
        let newest = self.known().iter().map(|known| known.created_at).max();
        if newest.is_none_or(|newest| is_older(newest, rotation, Utc::now())) {
            let audit = Audit::new("headgate", "signing_key.added");
            self.add(deps, deps.config.key_overlap, Some(rotation), audit).await?;
        }
        Ok(())
    }

    /// Makes a key that signs after `signs_after`. With `unless_younger`, only when the newest is older than that;
    /// `false` when it is not.
    ///
    /// # Errors
    /// When it cannot be made or stored.
    pub(crate) async fn add(
        &self,
        deps: &Deps,
        signs_after: Duration,
        unless_younger: Option<Duration>,
        audit: Audit,
    ) -> Result<bool, ApiError> {
        let key = tokio::task::spawn_blocking(SigningKey::generate)
            .await
            .map_err(|_| ApiError::Unexpected("making a key panicked"))??;
        let sealed = deps.keyring.seal(&sealing_context(key.kid()), key.to_pkcs8_der())?;
        let audit = audit.and(json!({ "kid": key.kid(), "signs_after_s": signs_after.as_secs() }));
        // A process signs with the former one until it has looked.
        let former_verify_for = deps.config.token_lifetime + deps.config.key_overlap + KNOWN_WITHIN;
        let added = deps
            .store
            .add_signing_key(key.kid(), &sealed, signs_after, former_verify_for, unless_younger, &audit)
            .await?;
        self.refresh(deps).await?;
        Ok(added)
    }

    fn known(&self) -> Arc<[Known]> {
        self.known.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Makes a look, and notes how it ended. It is a task of its own: others wait for it, so whoever asked for it may leave.
async fn noted(
    mut looks: OwnedMutexGuard<Looks>,
    for_a_token: bool,
    look: impl Future<Output = headgate_store::Result<()>> + Send + 'static,
) -> Result<(), ApiError> {
    let began = Instant::now();
    let look = async move {
        let looked = within(LOOK_WITHIN, look).await;
        match &looked {
            Ok(()) => {
                looks.last = Some(began);
                if for_a_token {
                    looks.for_a_token = Some(began);
                }
            }
            Err(_) => looks.failed = Some(Instant::now()),
        }
        looked
    };
    let looking = tokio::spawn(look.in_current_span());
    looking.await.map_err(|_| ApiError::Unexpected("looking for keys panicked"))??;
    Ok(())
}

/// What a stored key is sealed for, so that it is good in its own row only.
#[must_use]
pub fn sealing_context(kid: &str) -> String {
    format!("signing_key {kid}")
}

/// The stored keys that verify, each opened; what was opened before is not opened again. Those under a former
/// encryption key are sealed anew.
async fn load(
    store: &Store,
    keyring: &Keyring,
    known: &[Known],
) -> Result<Vec<Result<Known, StartError>>, headgate_store::Error> {
    let now = Utc::now();
    let mut loaded = Vec::new();
    for stored in store.signing_keys().await?.into_iter().filter(|stored| verifies(stored, now)) {
        let before = known.iter().find(|known| known.key.kid() == stored.kid);
        let opened = match before {
            Some(known) => Ok((known.key.clone(), None)),
            None => open(keyring, &stored),
        };
        if let Ok((_, Some(sealed))) = &opened {
            store.reseal_signing_key(&stored.kid, sealed).await?;
        }
        loaded.push(opened.map(|(key, _)| Known {
            key,
            created_at: stored.created_at,
            signs_from: stored.signs_from,
            verifies_until: stored.verifies_until,
        }));
    }
    Ok(loaded)
}

/// The key, and its new sealed form where a former encryption key sealed it.
fn open(keyring: &Keyring, stored: &StoredKey) -> Result<(Arc<SigningKey>, Option<Vec<u8>>), StartError> {
    let context = sealing_context(&stored.kid);
    let opened = keyring.open(&context, &stored.sealed).map_err(StartError::Sealed)?;
    let anew = if opened.stale { Some(keyring.seal(&context, &opened.plain)) } else { None };
    let key = SigningKey::from_pkcs8_der(&stored.kid, &opened.plain)?;
    Ok((Arc::new(key), anew.transpose().map_err(StartError::Sealed)?))
}

fn verifies(stored: &StoredKey, now: DateTime<Utc>) -> bool {
    stored.verifies_until.is_none_or(|end| now < end)
}

fn is_older(created_at: DateTime<Utc>, age: Duration, now: DateTime<Utc>) -> bool {
    (now - created_at).to_std().is_ok_and(|old| old > age)
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;

    use super::*;

    fn known(signs_in_s: i64, verifies_for_s: Option<i64>, now: DateTime<Utc>) -> Known {
        Known {
            key: Arc::new(SigningKey::generate().unwrap()),
            created_at: now + TimeDelta::seconds(signs_in_s - 600),
            signs_from: now + TimeDelta::seconds(signs_in_s),
            verifies_until: verifies_for_s.map(|s| now + TimeDelta::seconds(s)),
        }
    }

    fn stored(keyring: &Keyring, kid: &str, key: &SigningKey) -> StoredKey {
        StoredKey {
            kid: key.kid().to_owned(),
            sealed: keyring.seal(&sealing_context(kid), key.to_pkcs8_der()).unwrap(),
            created_at: Utc::now(),
            signs_from: Utc::now(),
            verifies_until: None,
        }
    }

    #[test]
    fn the_newest_key_signs_whose_time_has_come_and_all_that_verify_are_published() {
        let now = Utc::now();
        let all = [known(600, None, now), known(-100, Some(2400), now), known(-9000, Some(0), now)];
        let kids: Vec<String> = all.iter().map(|known| known.key.kid().to_owned()).collect();
        let keys = Keys::of(all.to_vec());
        assert_eq!(keys.signing(now).unwrap().kid(), kids[1]);
        let published: Vec<String> = keys.verifying(now).iter().map(|key| key.kid().to_owned()).collect();
        assert_eq!(published, kids[..2]);
        // The change needs no look at the database.
        assert_eq!(keys.signing(now + TimeDelta::seconds(600)).unwrap().kid(), kids[0]);
        assert_eq!(keys.verifying(now + TimeDelta::seconds(2400)).len(), 1);
    }

    #[test]
    fn a_key_that_waited_for_its_turn_does_not_overtake_one_that_was_made_later_and_signs_at_once() {
        let now = Utc::now();
        let at_once = Known { created_at: now, ..known(0, None, now) };
        let waiting = known(540, Some(2490), now);
        let keys = Keys::of(vec![waiting, at_once.clone()]);
        for seconds in [0, 540, 2000] {
            let signing = keys.signing(now + TimeDelta::seconds(seconds)).unwrap();
            assert_eq!(signing.kid(), at_once.key.kid(), "after {seconds} s");
        }
    }

    #[test]
    fn a_clock_that_is_behind_does_not_leave_a_new_installation_without_a_key() {
        let now = Utc::now();
        assert!(Keys::of(vec![known(2, None, now)]).signing(now).is_some());
        assert!(Keys::none().signing(now).is_none());
    }

    #[test]
    fn a_key_under_a_former_encryption_key_is_sealed_anew_and_one_under_an_unknown_key_is_refused() {
        let former = Keyring::new([1; 32], vec![]).unwrap();
        let key = SigningKey::generate().unwrap();
        let row = stored(&former, key.kid(), &key);

        let (opened, anew) = open(&former, &row).unwrap();
        assert_eq!((opened.kid(), anew), (key.kid(), None));

        let now = Keyring::new([2; 32], vec![[1; 32]]).unwrap();
        let (_, anew) = open(&now, &row).unwrap();
        let row_anew = StoredKey { sealed: anew.unwrap(), ..row.clone() };
        assert!(open(&Keyring::new([2; 32], vec![]).unwrap(), &row_anew).is_ok());

        let error = open(&Keyring::new([3; 32], vec![]).unwrap(), &row).unwrap_err();
        let text = error.to_string();
        assert!(text.contains("keys.encryption_key") && text.contains("previous_encryption_key"), "{text}");
    }

    #[test]
    fn a_sealed_key_is_good_in_its_own_row_only() {
        let keyring = Keyring::new([1; 32], vec![]).unwrap();
        let row = stored(&keyring, "another", &SigningKey::generate().unwrap());
        assert!(matches!(open(&keyring, &row), Err(StartError::Sealed(_))));
    }

    #[test]
    fn a_token_with_an_unknown_key_is_looked_up_at_once_but_a_flood_of_them_is_not() {
        let now = Instant::now();
        let looks = |last, for_a_token| Looks { last, for_a_token, failed: None };
        let (second, while_later) = (Duration::from_secs(1), now + LOOK_AGAIN);
        // The regular look a moment ago says nothing of a key that was made since.
        assert_eq!(looks(Some(now), None).decide(now + second), Decision::Look);
        assert_eq!(looks(Some(now), Some(now)).decide(now + second), Decision::TooSoon);
        assert_eq!(looks(Some(now), Some(now)).decide(while_later), Decision::Look);
        // Who waited for a look has its answer.
        assert_eq!(looks(Some(while_later), Some(while_later)).decide(now), Decision::LookedMeanwhile);
    }

    #[tokio::test]
    async fn a_look_that_failed_counts_for_nobody_and_those_who_waited_for_it_are_told() {
        let looks = Arc::new(Mutex::new(Looks::default()));
        let asked = Instant::now();
        // What a database that does not answer comes to.
        let silent = within(Duration::ZERO, std::future::pending());
        let failed = noted(Arc::clone(&looks).lock_owned().await, true, silent).await;
        assert!(matches!(failed, Err(ApiError::Store(error)) if error.is_transient()));
        let looks = looks.lock().await;
        assert!(looks.last.is_none() && looks.for_a_token.is_none());
        assert_eq!(looks.decide(asked), Decision::FailedMeanwhile);
        assert_eq!(looks.decide(Instant::now() + Duration::from_millis(1)), Decision::Look);
    }

    #[tokio::test]
    async fn a_look_goes_on_when_the_one_who_asked_for_it_leaves() {
        let looks = Arc::new(Mutex::new(Looks::default()));
        let (answer, answered) = tokio::sync::oneshot::channel();
        let look = async move {
            let _answered = answered.await;
            Ok::<(), headgate_store::Error>(())
        };
        let asking = tokio::spawn(noted(Arc::clone(&looks).lock_owned().await, true, look));
        tokio::task::yield_now().await;
        asking.abort();
        assert!(asking.await.unwrap_err().is_cancelled());
        let asked = Instant::now();
        assert!(looks.try_lock().is_err(), "who comes now does not wait for it");
        answer.send(()).unwrap();
        let looks = looks.lock().await;
        assert!(looks.last.is_some() && looks.for_a_token == looks.last);
        // It began before this one asked, and is not to be repeated for anybody's token.
        assert_eq!(looks.decide(asked), Decision::TooSoon);
    }

    #[test]
    fn what_another_process_did_is_known_in_time_even_if_a_look_fails() {
        assert!(REFRESH + LOOK_WITHIN + AFTER_FAILURE < KNOWN_WITHIN);
    }

    #[test]
    fn a_key_is_replaced_after_its_time() {
        let now = Utc::now();
        let day = Duration::from_secs(86_400);
        assert!(is_older(now - TimeDelta::seconds(86_401), day, now));
        assert!(!is_older(now - TimeDelta::seconds(86_399), day, now));
        assert!(!is_older(now + TimeDelta::seconds(9), day, now), "made by a clock that is ahead");
    }
}
