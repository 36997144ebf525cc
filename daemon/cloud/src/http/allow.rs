//! Host patterns of a grant: `host`, `host:port`, `host:*`, `*.suffix` and the same with ports. Pure; it must not resolve names.

use url::Host;

/// A pattern as the operator wrote it, understood.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Pattern {
    host: HostPattern,
    port: PortPattern,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum HostPattern {
    Exactly(Host<String>),
    /// Everything below this name, not the name itself. With its leading dot.
    Below(String),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum PortPattern {
    /// The scheme's own.
    Usual,
    Any,
    Number(u16),
}

impl Pattern {
    /// None for what is no pattern; such an entry allows nothing.
    pub(super) fn parse(text: &str) -> Option<Self> {
        // The colons inside an IPv6 address are bracketed.
        let (host, port) = match text.rsplit_once(':') {
            Some((host, port)) if !port.ends_with(']') => (host, Some(port)),
            _ => (text, None),
        };
        let port = match port {
            None => PortPattern::Usual,
            Some("*") => PortPattern::Any,
            Some(number) => PortPattern::Number(number.parse().ok().filter(|n| *n != 0)?),
        };
        let host = match host.strip_prefix("*.") {
            Some(suffix) => match parse_host(suffix)? {
                Host::Domain(name) => HostPattern::Below(format!(".{name}")),
                _ => return None,
            },
            None => HostPattern::Exactly(parse_host(host)?),
        };
        Some(Self { host, port })
    }

    pub(super) fn allows(&self, host: &Host<String>, port: u16, usual: u16) -> bool {
        let port_fits = match self.port {
            PortPattern::Usual => port == usual,
            PortPattern::Any => true,
            PortPattern::Number(number) => port == number,
        };
        let host_fits = match (&self.host, host) {
            (HostPattern::Exactly(own), host) => own == host,
            (HostPattern::Below(suffix), Host::Domain(name)) => {
                name.len() > suffix.len() && name.ends_with(suffix.as_str())
            }
            (HostPattern::Below(_), _) => false,
        };
        port_fits && host_fits
    }
}

fn parse_host(text: &str) -> Option<Host<String>> {
    Host::parse(text)
        .ok()
        .filter(|_| !text.contains('*'))
        .map(plain)
}

/// A name without the root's dot, which names the same host.
pub(super) fn plain(host: Host<String>) -> Host<String> {
    match host {
        Host::Domain(name) => {
            Host::Domain(name.strip_suffix('.').map(str::to_owned).unwrap_or(name))
        }
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use url::Url;

    use super::*;

    fn allowed(pattern: &str, url: &str) -> bool {
        let url = Url::parse(url).unwrap();
        let usual = if url.scheme() == "https" { 443 } else { 80 };
        let host = plain(url.host().unwrap().to_owned());
        Pattern::parse(pattern)
            .is_some_and(|p| p.allows(&host, url.port_or_known_default().unwrap(), usual))
    }

    #[test]
    fn patterns_allow_what_they_say_and_no_more() {
        for (pattern, url) in [
            ("api.example.com", "https://api.example.com/x"),
            ("api.example.com", "http://API.Example.COM:80/"),
            ("api.example.com", "https://api.example.com./"),
            ("api.example.com:8443", "https://api.example.com:8443/"),
            ("api.example.com:*", "https://api.example.com:1/"),
            ("*.example.com", "https://a.b.example.com/"),
            ("*.example.com:*", "http://a.example.com:99/"),
            ("[::1]:8080", "http://[0:0::1]:8080/"),
            ("[::1]", "http://[::1]/"),
            ("127.0.0.1:80", "http://0x7f.1/"),
            ("bücher.example", "https://xn--bcher-kva.example/"),
        ] {
            assert!(allowed(pattern, url), "{pattern} {url}");
        }
        for (pattern, url) in [
            ("api.example.com", "https://api.example.com:8443/"),
            ("api.example.com", "https://api.example.com.evil.test/"),
            ("api.example.com", "https://evil.test/api.example.com"),
            ("example.com", "https://api.example.com/"),
            ("*.example.com", "https://example.com/"),
            ("*.example.com", "https://evilexample.com/"),
            ("*.example.com", "https://.example.com/"),
            ("*", "https://example.com/"),
            ("*.*", "https://example.com/"),
            ("a*.example.com", "https://ab.example.com/"),
            ("*.0.0.1", "http://127.0.0.1/"),
            ("", "https://example.com/"),
            ("api.example.com:0", "https://api.example.com/"),
            ("::1", "http://[::1]/"),
            ("127.0.0.1", "http://[::ffff:127.0.0.1]/"),
        ] {
            assert!(!allowed(pattern, url), "{pattern} {url}");
        }
    }
}
