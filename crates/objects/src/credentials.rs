//! The credentials, renewed early enough.
//!
//! Those of a role end: of a web identity after an hour. The SDK renews them in their last seconds, and a link that is
//! signed shortly before dies with them. So here they are renewed while they still have the life of a link left, and the
//! SDK, which asks for each request, gets what is kept here.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use aws_credential_types::Credentials;
use aws_credential_types::provider::error::CredentialsError;
use aws_credential_types::provider::{self, ProvideCredentials, SharedCredentialsProvider, future};

/// How long before their end they are renewed, at least; and how much longer than a link lives.
const MARGIN: Duration = Duration::from_secs(5 * 60);

/// How long before their end they are renewed, at most: the usual session lasts an hour, and one that was just begun must
/// not be renewed already.
const MOST: Duration = Duration::from_secs(50 * 60);

/// Who gives them is not asked more often than this while they are good: some give the same ones until shortly before
/// their end, however early they are asked.
const AGAIN: Duration = Duration::from_secs(30);

/// Those that name no end are asked for again after this time, as the SDK does.
const WITHOUT_END: Duration = Duration::from_secs(15 * 60);

/// How long the answer may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// The credentials as they are now. Cheap to clone; clones share them.
#[derive(Clone)]
pub(crate) struct Kept(Arc<Inner>);

struct Inner {
    provider: SharedCredentialsProvider,
    ahead: Duration,
    last: Mutex<Option<Credentials>>,
    /// When they were asked for; locked by whoever asks.
    asked: tokio::sync::Mutex<Option<Instant>>,
}

impl Kept {
    /// Keeps what the provider gives, for links that live as long as `links` at most.
    pub(crate) fn new(provider: SharedCredentialsProvider, links: Duration) -> Self {
        let ahead = (links + MARGIN).min(MOST);
        Self(Arc::new(Inner {
            provider,
            ahead,
            last: Mutex::default(),
            asked: tokio::sync::Mutex::default(),
        }))
    }

    /// Those that are good now, renewed where they should be. Where that fails they are used to their end.
    ///
    /// # Errors
    /// When there are none, and none can be had.
    pub(crate) async fn current(&self) -> provider::Result {
        self.at(Instant::now()).await
    }

    async fn at(&self, now: Instant) -> provider::Result {
        let mut asked = match (self.0.asked.try_lock(), self.good()) {
            (Ok(asked), _) => asked,
            // Somebody renews them just now.
            (Err(_), Some(good)) => return Ok(good),
            (Err(_), None) => self.0.asked.lock().await,
        };
        let good = self.good();
        if let Some(good) = &good
            && !self.is_due(good, asked.map(|asked| now - asked))
        {
            return Ok(good.clone());
        }
        *asked = Some(now);
        let answer = tokio::time::timeout(PATIENCE, self.0.provider.provide_credentials()).await;
        let error = match answer {
            Ok(Ok(new)) => {
                *self.0.last.lock().unwrap_or_else(PoisonError::into_inner) = Some(new.clone());
                return Ok(new);
            }
            Ok(Err(error)) => error,
            Err(_) => CredentialsError::provider_timed_out(PATIENCE),
        };
        let Some(good) = good else { return Err(error) };
        let left_s = remaining(&good).map(|left| left.as_secs());
        tracing::warn!(left_s, "the credentials for S3 could not be renewed yet");
        Ok(good)
    }

    /// The last ones, unless they have ended.
    fn good(&self) -> Option<Credentials> {
        let last = self.0.last.lock().unwrap_or_else(PoisonError::into_inner).clone();
        last.filter(|last| remaining(last).is_none_or(|left| !left.is_zero()))
    }

    fn is_due(&self, good: &Credentials, since_asked: Option<Duration>) -> bool {
        let since = since_asked.unwrap_or(Duration::MAX);
        match remaining(good) {
            Some(left) => left < self.0.ahead && since >= AGAIN,
            None => since >= WITHOUT_END,
        }
    }
}

impl fmt::Debug for Kept {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Kept")
    }
}

impl ProvideCredentials for Kept {
    fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
    where
        Self: 'a,
    {
        future::ProvideCredentials::new(self.current())
    }
}

/// How long they live yet, if they end at all.
pub(crate) fn remaining(credentials: &Credentials) -> Option<Duration> {
    let end = credentials.expiry()?;
    Some(end.duration_since(SystemTime::now()).unwrap_or_default())
}

#[cfg(test)]
pub(crate) mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    type Answer = Box<dyn Fn(usize) -> provider::Result + Send + Sync>;

    /// Gives what the function says, which is told how often it was asked before.
    pub(crate) struct Provider {
        answer: Answer,
        asked: Arc<AtomicUsize>,
    }

    impl Provider {
        pub(crate) fn new(answer: impl Fn(usize) -> provider::Result + Send + Sync + 'static) -> Self {
            Self { answer: Box::new(answer), asked: Arc::default() }
        }
    }

    impl fmt::Debug for Provider {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("Provider")
        }
    }

    impl ProvideCredentials for Provider {
        fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
        where
            Self: 'a,
        {
            future::ProvideCredentials::ready((self.answer)(self.asked.fetch_add(1, Ordering::SeqCst)))
        }
    }

    const MINUTE: u64 = 60;

    fn ending(name: usize, in_s: u64) -> Credentials {
        let end = SystemTime::now() + Duration::from_secs(in_s);
        Credentials::new(format!("{name}"), "secret", None, Some(end), "test")
    }

    fn kept(
        links_s: u64,
        answer: impl Fn(usize) -> provider::Result + Send + Sync + 'static,
    ) -> (Kept, Arc<AtomicUsize>) {
        let provider = Provider::new(answer);
        let asked = Arc::clone(&provider.asked);
        (Kept::new(SharedCredentialsProvider::new(provider), Duration::from_secs(links_s)), asked)
    }

    /// Which credentials are given, asked for at these seconds.
    async fn given(kept: &Kept, at_s: &[u64]) -> Vec<String> {
        let (begun, mut given) = (Instant::now(), Vec::new());
        for at in at_s {
            given.push(kept.at(begun + Duration::from_secs(*at)).await.unwrap().access_key_id().to_owned());
        }
        given
    }

    #[tokio::test]
    async fn they_are_renewed_while_they_have_the_life_of_a_link_left() {
        for (left, again) in [(34 * MINUTE, "1"), (36 * MINUTE, "0")] {
            let (kept, _) = kept(30 * MINUTE, move |n| Ok(ending(n, left)));
            assert_eq!(given(&kept, &[0, 60]).await, ["0", again], "{left}");
        }
    }

    #[tokio::test]
    async fn a_session_that_was_just_begun_is_not_renewed_however_long_links_live() {
        let (kept, asked) = kept(24 * 60 * MINUTE, |n| Ok(ending(n, 60 * MINUTE)));
        given(&kept, &[0, 60, 120]).await;
        assert_eq!(asked.load(Ordering::SeqCst), 1);
    }

    #[tokio::test]
    async fn who_gives_them_is_not_asked_for_each_request() {
        let (kept, asked) = kept(30 * MINUTE, |_| Ok(ending(0, 5 * MINUTE)));
        given(&kept, &(0..60).collect::<Vec<_>>()).await;
        assert_eq!(asked.load(Ordering::SeqCst), 2);
    }

    #[tokio::test]
    async fn where_they_cannot_be_renewed_they_are_used_to_their_end() {
        let away = || CredentialsError::not_loaded("away");
        let (kept, asked) =
            kept(30 * MINUTE, move |n| if n == 0 { Ok(ending(0, 5 * MINUTE)) } else { Err(away()) });
        assert_eq!(given(&kept, &[0, 60]).await, ["0", "0"]);
        assert_eq!(asked.load(Ordering::SeqCst), 2);
        let (none, _) = self::kept(0, move |_| Err(away()));
        none.current().await.unwrap_err();
    }

    #[tokio::test]
    async fn those_without_an_end_are_asked_for_again_as_the_sdk_does() {
        let (kept, asked) = kept(0, |n| Ok(Credentials::new(format!("{n}"), "secret", None, None, "test")));
        assert_eq!(given(&kept, &[0, 14 * MINUTE, 15 * MINUTE]).await, ["0", "0", "1"]);
        assert_eq!(asked.load(Ordering::SeqCst), 2);
    }
}
