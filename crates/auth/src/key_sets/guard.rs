//! Which hosts this server connects to when somebody else names the URL: public ones only.
//!
//! Otherwise a JWKS URL would reach what a firewall keeps outsiders from: the metadata service of a cloud
//! (169.254.169.254), a database on the loopback, a service of the cluster.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use url::{Host, Url};

use super::KeySetError;
use super::lookups::LookupError;

/// Longest URL, in bytes.
pub(super) const MAX_URL_BYTES: usize = 500;

/// Endings of names that mean something only inside a network or a cluster.
const INTERNAL_ENDINGS: [&str; 6] =
    [".local", ".localhost", ".localdomain", ".internal", ".svc", ".home.arpa"];

/// IPv4 networks that are not public: address and length of the prefix (RFC 6890 and its registry).
const NOT_PUBLIC_V4: [(Ipv4Addr, u32); 17] = [
    (Ipv4Addr::new(0, 0, 0, 0), 8),
    (Ipv4Addr::new(10, 0, 0, 0), 8),
    // Shared between a provider and its customers.
    (Ipv4Addr::new(100, 64, 0, 0), 10),
    (Ipv4Addr::new(127, 0, 0, 0), 8),
    // The platform address of Azure's virtual machines: public by number, local by route.
    (Ipv4Addr::new(168, 63, 129, 16), 32),
    // Link-local; the metadata services of clouds are here.
    (Ipv4Addr::new(169, 254, 0, 0), 16),
    (Ipv4Addr::new(172, 16, 0, 0), 12),
    (Ipv4Addr::new(192, 0, 0, 0), 24),
    (Ipv4Addr::new(192, 0, 2, 0), 24),
    // Relays of 6to4.
    (Ipv4Addr::new(192, 88, 99, 0), 24),
    (Ipv4Addr::new(192, 168, 0, 0), 16),
    // Benchmarks.
    (Ipv4Addr::new(198, 18, 0, 0), 15),
    (Ipv4Addr::new(198, 51, 100, 0), 24),
    (Ipv4Addr::new(203, 0, 113, 0), 24),
    // Multicast.
    (Ipv4Addr::new(224, 0, 0, 0), 4),
    // Reserved, with the broadcast address.
    (Ipv4Addr::new(240, 0, 0, 0), 4),
    (Ipv4Addr::BROADCAST, 32),
];

/// Inside 2000::/3, the IPv6 networks that are not public or lead to an IPv4 address of the sender's
/// choice.
const NOT_PUBLIC_V6: [(Ipv6Addr, u32); 4] = [
    // Protocol assignments: Teredo, benchmarks, ORCHID.
    (Ipv6Addr::new(0x2001, 0, 0, 0, 0, 0, 0, 0), 23),
    // Documentation.
    (Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0), 32),
    // 6to4.
    (Ipv6Addr::new(0x2002, 0, 0, 0, 0, 0, 0, 0), 16),
    // Documentation.
    (Ipv6Addr::new(0x3fff, 0, 0, 0, 0, 0, 0, 0), 20),
];

/// Whether an address is global unicast. Of IPv6 only 2000::/3 is assigned for that; what lies outside
/// (loopback, link-local, fc00::/7, multicast, IPv4-mapped and -compatible addresses, NAT64) is not.
pub(super) fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => {
            !NOT_PUBLIC_V4.iter().any(|(net, length)| (v4.to_bits() ^ net.to_bits()) >> (32 - length) == 0)
        }
        IpAddr::V6(v6) => {
            let bits = v6.to_bits();
            bits >> 125 == 0b001
                && !NOT_PUBLIC_V6.iter().any(|(net, length)| (bits ^ net.to_bits()) >> (128 - length) == 0)
        }
    }
}

/// Checks what an URL says; what its host resolves to is for [`Guarded`].
pub(super) fn check_url(url: &Url, allow_insecure: bool) -> Result<(), KeySetError> {
    match url.scheme() {
        "https" => {}
        "http" if allow_insecure => {}
        _ => return Err(KeySetError::NotHttps),
    }
    if url.as_str().len() > MAX_URL_BYTES {
        return Err(KeySetError::UrlTooLong);
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(KeySetError::HasCredentials);
    }
    if url.fragment().is_some() {
        return Err(KeySetError::HasFragment);
    }
    match url.host() {
        None => Err(KeySetError::NotAUrl),
        Some(_) if allow_insecure => Ok(()),
        Some(Host::Domain(name)) if is_public_name(name) => Ok(()),
        Some(_) => Err(KeySetError::NotPublicName),
    }
}

/// Whether a name can be one of the public DNS. The URL parser made it lower-case.
fn is_public_name(name: &str) -> bool {
    let name = name.trim_end_matches('.');
    name.contains('.') && !INTERNAL_ENDINGS.iter().any(|ending| name.ends_with(ending))
}

/// That a name has no address to connect to, whether it does not exist or is not public: which of the
/// two it is would tell an outsider about names of the inside.
#[derive(Debug, Clone, Copy, thiserror::Error)]
#[error("no public address")]
pub(super) struct NoPublicAddress;

/// A resolver that lets only public addresses through. The connector connects to what this returns, so
/// a name whose answer changes between two questions (DNS rebinding) gains nothing.
pub(super) struct Guarded {
    pub(super) resolver: Arc<dyn Resolve>,
    pub(super) allow_insecure: bool,
}

impl Resolve for Guarded {
    fn resolve(&self, name: Name) -> Resolving {
        let (found, allow_insecure) = (self.resolver.resolve(name), self.allow_insecure);
        Box::pin(async move {
            let found = found.await.map_err(|error| {
                // It says nothing about the name.
                let busy = error.downcast_ref::<LookupError>() == Some(&LookupError::Busy);
                if busy { error } else { NoPublicAddress.into() }
            })?;
            let passed: Vec<SocketAddr> =
                found.filter(|address| allow_insecure || is_public(address.ip())).collect();
            if passed.is_empty() {
                return Err(NoPublicAddress.into());
            }
            Ok(Box::new(passed.into_iter()) as Addrs)
        })
    }
}

/// The resolver of the operating system.
pub(super) struct SystemResolver;

impl Resolve for SystemResolver {
    fn resolve(&self, name: Name) -> Resolving {
        Box::pin(async move {
            // Port 0 stands for that of the URL.
            let found: Vec<SocketAddr> = tokio::net::lookup_host((name.as_str(), 0)).await?.collect();
            Ok(Box::new(found.into_iter()) as Addrs)
        })
    }
}

#[cfg(test)]
mod tests;
