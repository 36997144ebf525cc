//! Name resolution for the HTTP client: the addresses that are checked here are the ones that are connected to, so a name that changes
//! its meaning between check and connection gains nothing.

use std::net::SocketAddr;

use reqwest::dns::{Addrs, Name, Resolve, Resolving};

use super::address::is_private;

/// Answers with public addresses only.
#[derive(Debug, Clone, Copy)]
pub(super) struct PublicOnly;

/// A name leads to private addresses only.
#[derive(Debug, thiserror::Error)]
#[error("the name leads to a private address")]
pub(super) struct Private;

impl Resolve for PublicOnly {
    fn resolve(&self, name: Name) -> Resolving {
        Box::pin(async move {
            // The port is the client's business: 0 stands for the one asked for.
            let found: Vec<SocketAddr> =
                tokio::net::lookup_host((name.as_str(), 0)).await?.collect();
            Ok(Box::new(public(found)?.into_iter()) as Addrs)
        })
    }
}

/// What a connection may be made to: nothing else reaches the client, whatever else the name means.
fn public(found: Vec<SocketAddr>) -> Result<Vec<SocketAddr>, Private> {
    let public: Vec<SocketAddr> = found.into_iter().filter(|a| !is_private(a.ip())).collect();
    if public.is_empty() {
        Err(Private)
    } else {
        Ok(public)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A name that means a public address now and a private one at the connection gains nothing: it is looked up once, and what is not
    /// public never gets to whoever connects.
    #[tokio::test]
    async fn a_name_leads_to_public_addresses_alone() {
        let at = |addresses: &[&str]| -> Vec<SocketAddr> {
            addresses
                .iter()
                .map(|a| SocketAddr::new(a.parse().unwrap(), 0))
                .collect()
        };
        let mixed = at(&[
            "1.1.1.1",
            "127.0.0.1",
            "::1",
            "2606:4700::1111",
            "fd00:ec2::254",
            "::ffff:169.254.169.254",
        ]);
        assert_eq!(public(mixed).unwrap(), at(&["1.1.1.1", "2606:4700::1111"]));
        for private in [&["127.0.0.1"][..], &["169.254.169.254", "fe80::1"], &[]] {
            assert!(public(at(private)).is_err(), "{private:?}");
        }
        assert!(
            PublicOnly
                .resolve("localhost".parse().unwrap())
                .await
                .is_err()
        );
    }
}
