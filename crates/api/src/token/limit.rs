//! How many requests an address and an app may make to the token endpoint and those beside it. Counted before any
//! signature is looked at or any key set fetched, so that neither costs more than the limit allows.
//!
//! Who claims to be an app that does not exist costs their address something, and nobody else.

use std::net::{IpAddr, Ipv6Addr};
use std::time::Duration;

use headgate_domain::ClientId;

use crate::error::ApiError;
use crate::rate::Rate;

/// An app may make as many requests as so many addresses.
const PER_APP: u32 = 10;

/// The counts.
#[derive(Debug)]
pub(crate) struct Limit {
    addresses: Rate<IpAddr>,
    apps: Rate<ClientId>,
}

impl Limit {
    /// Admits so many requests of an address in a minute, and ten times as many of an app: client ids are no secret, and
    /// whoever sends garbage in the name of an app is not to keep it from its tokens.
    pub(crate) fn per_minute(requests: u32) -> Self {
        let requests = requests.clamp(1, u32::MAX / PER_APP);
        let interval = Duration::from_secs(60) / requests;
        let of_apps = requests * PER_APP;
        Self { addresses: Rate::new(requests, interval), apps: Rate::new(of_apps, interval / PER_APP) }
    }

    /// Counts a request of an address.
    ///
    /// # Errors
    /// 429 when it is one too many.
    pub(super) fn admit_address(&self, address: Option<IpAddr>) -> Result<(), ApiError> {
        // Those of whom nothing is known share a count.
        let address = address.map_or(IpAddr::V6(Ipv6Addr::UNSPECIFIED), subnet);
        self.addresses.admit(address).map_err(ApiError::TooManyTokenRequests)
    }

    /// Counts a request that claims to come from an app. There has to be one: anybody can make up ids.
    ///
    /// # Errors
    /// 429 when it is one too many.
    pub(super) fn admit_app(&self, client: &ClientId) -> Result<(), ApiError> {
        self.apps.admit(client.clone()).map_err(ApiError::TooManyTokenRequests)
    }
}

/// An address of version 6 stands for its /64: whoever has one of these has them all.
fn subnet(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(_) => address,
        IpAddr::V6(v6) => {
            let bits = v6.to_bits() >> 64 << 64;
            IpAddr::V6(Ipv6Addr::from_bits(bits))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn admitted(limit: &Limit, address: &str, tries: u32) -> usize {
        let address = Some(address.parse().unwrap());
        (0..tries).filter(|_| limit.admit_address(address).is_ok()).count()
    }

    #[test]
    fn each_address_has_a_limit_of_its_own() {
        let limit = Limit::per_minute(10);
        assert_eq!(admitted(&limit, "192.0.2.1", 30), 10);
        assert_eq!(admitted(&limit, "192.0.2.2", 30), 10);
        let error = limit.admit_address(Some("192.0.2.1".parse().unwrap())).unwrap_err();
        assert!(matches!(error, ApiError::TooManyTokenRequests(wait) if wait <= Duration::from_secs(6)));
    }

    #[test]
    fn a_host_with_a_whole_subnet_has_one_limit() {
        let limit = Limit::per_minute(10);
        assert_eq!(admitted(&limit, "2001:db8:0:1::1", 8), 8);
        assert_eq!(admitted(&limit, "2001:db8:0:1:ffff::2", 8), 2);
        assert_eq!(admitted(&limit, "2001:db8:0:2::1", 8), 8);
    }

    #[test]
    fn apps_are_counted_apart_from_addresses() {
        let limit = Limit::per_minute(3);
        let app = |n| ClientId::from_random([n; 25]);
        assert_eq!((0..90).filter(|_| limit.admit_app(&app(1)).is_ok()).count(), 30);
        assert!(limit.admit_app(&app(2)).is_ok());
        assert_eq!(admitted(&limit, "192.0.2.1", 9), 3);
    }
}
