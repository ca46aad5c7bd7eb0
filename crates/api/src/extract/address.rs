//! Where a request came from. Proxies that stand in front of this server append the address of whoever spoke to them
//! to `X-Forwarded-For`; so many entries from the right were written by them, and everything further left by anybody.

use std::net::{IpAddr, SocketAddr};

use axum::extract::ConnectInfo;
use http::HeaderName;
use http::header::HeaderMap;
use http::request::Parts;

/// The address of the client, with `hops` proxies in front of this server; none: that of the peer. Where the header
/// does not have so many entries, or another text there, the request did not come through the proxies: then too.
pub(crate) fn client_address(request: &Parts, hops: usize) -> Option<IpAddr> {
    let peer = request.extensions.get::<ConnectInfo<SocketAddr>>().map(|info| info.0.ip());
    forwarded(&request.headers, hops).or(peer).map(|address| address.to_canonical())
}

fn forwarded(headers: &HeaderMap, hops: usize) -> Option<IpAddr> {
    let nth_from_the_right = hops.checked_sub(1)?;
    let values = headers.get_all(HeaderName::from_static("x-forwarded-for"));
    // Several headers of a name are one list (RFC 9110, section 5.3).
    let entries = values.iter().flat_map(|value| value.as_bytes().split(|byte| *byte == b','));
    let entries: Vec<&[u8]> = entries.collect();
    let wanted = entries.len().checked_sub(1 + nth_from_the_right)?;
    let text = std::str::from_utf8(entries.get(wanted)?).ok()?.trim();
    // Some proxies write the port as well.
    let bare = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
    bare.parse().ok().or_else(|| text.parse().ok().map(|address: SocketAddr| address.ip()))
}

#[cfg(test)]
mod tests {
    use http::{HeaderValue, Request};

    use super::*;

    fn from(peer: &str, forwarded: &[&[u8]], hops: usize) -> Option<String> {
        let mut request = Request::new(()).into_parts().0;
        if let Ok(peer) = peer.parse::<SocketAddr>() {
            request.extensions.insert(ConnectInfo(peer));
        }
        for value in forwarded {
            request.headers.append("x-forwarded-for", HeaderValue::from_bytes(value).unwrap());
        }
        client_address(&request, hops).map(|address| address.to_string())
    }

    #[test]
    fn without_proxies_the_header_is_not_believed() {
        assert_eq!(from("192.0.2.1:4000", &[b"203.0.113.9"], 0).as_deref(), Some("192.0.2.1"));
        assert_eq!(from("", &[b"203.0.113.9"], 0), None);
    }

    #[test]
    fn behind_proxies_the_entry_counts_that_the_outermost_of_them_wrote() {
        let peer = "10.0.0.1:4000";
        let list: &[&[u8]] = &[b"6.6.6.6, 203.0.113.9", b"198.51.100.7"];
        assert_eq!(from(peer, list, 1).as_deref(), Some("198.51.100.7"));
        assert_eq!(from(peer, list, 2).as_deref(), Some("203.0.113.9"));
        // What a client adds on the left changes nothing, whatever it is.
        let forged: &[&[u8]] = &[b"\xff,,6.6.6.6, 203.0.113.9", b"198.51.100.7"];
        assert_eq!(from(peer, forged, 2).as_deref(), Some("203.0.113.9"));
    }

    #[test]
    fn who_comes_past_the_proxies_is_known_by_the_peer() {
        let peer = "10.0.0.1:4000";
        let lists: [&[&[u8]]; 4] =
            [&[], &[b"203.0.113.9"], &[b"unknown, 203.0.113.9"], &[b"\xff, 203.0.113.9"]];
        for list in lists {
            assert_eq!(from(peer, list, 2).as_deref(), Some("10.0.0.1"));
        }
    }

    #[test]
    fn an_address_is_read_in_every_form_in_which_proxies_write_it() {
        for (text, address) in [
            ("203.0.113.9", "203.0.113.9"),
            (" 203.0.113.9:55 ", "203.0.113.9"),
            ("2001:db8::1", "2001:db8::1"),
            ("[2001:db8::1]", "2001:db8::1"),
            ("[2001:db8::1]:55", "2001:db8::1"),
            ("::ffff:203.0.113.9", "203.0.113.9"),
        ] {
            assert_eq!(from("10.0.0.1:1", &[text.as_bytes()], 1).as_deref(), Some(address), "{text}");
        }
    }
}
