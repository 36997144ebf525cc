//! `login`: makes sure of the daemon's certificate, then of the token, and keeps both as a context. Nothing is kept when either fails.

use std::io::{self, IsTerminal, Read};

use console::Term;
use tradewind_api::WhoAmI;
use tradewind_core::identity::Secret;
use url::Url;

use crate::{
    Error, Globals, Output,
    args::Login,
    client::{self, Client, Trust, seen_fingerprint},
    connection,
    contexts::{Entry, Shelf, check_name},
    render,
};

pub(crate) async fn run(globals: &Globals, args: Login) -> Result<(), Error> {
    let server = server(&args.url)?;
    let name = match args.name {
        Some(name) => name,
        None => server
            .host_str()
            .unwrap_or_default()
            .trim_matches(['[', ']'])
            .replace(':', "-"),
    };
    check_name(&name)?;
    let shelf = Shelf::open()?;
    let mut contexts = shelf.read()?;
    let trust = trust(globals, &server).await?;
    let token = token(globals, &server)?;
    let address = server.as_str().trim_end_matches('/').to_owned();
    let client = Client::new(&address, Some(&token), &trust)?;
    let who: WhoAmI = client.get(&["v1", "whoami"], &[]).await?;
    let (fingerprint, ca) = match trust {
        Trust::Pinned(digest) => (Some(digest), None),
        Trust::Authority(file) => (None, Some(std::path::absolute(&file).unwrap_or(file))),
        Trust::System => (None, None),
    };
    let before = contexts.contexts.get(&name);
    let namespace = globals.namespace.clone().or_else(|| {
        before
            .filter(|entry| entry.server == address)
            .and_then(|entry| entry.namespace.clone())
    });
    let entry = Entry {
        server: address,
        fingerprint,
        ca,
        namespace,
    };
    contexts.contexts.insert(name.clone(), entry);
    contexts.current = Some(name.clone());
    shelf.keep_token(&name, &token)?;
    shelf.write(&contexts)?;
    Output::new(globals).show(&who, |out| {
        format!(
            "{}\ncontext \"{name}\" is the current one, kept in {}",
            render::token::who(out, &who),
            shelf.path().display()
        )
    })
}

/// `https` where no scheme is written.
fn server(text: &str) -> Result<Url, Error> {
    let whole = match text.contains("://") {
        true => text.to_owned(),
        false => format!("https://{text}"),
    };
    let url = Url::parse(&whole).ok().filter(|url| {
        let plain = url.username().is_empty() && url.query().is_none() && url.fragment().is_none();
        matches!(url.scheme(), "http" | "https") && url.has_host() && plain
    });
    url.ok_or_else(|| {
        client::Error::Server {
            value: text.to_owned(),
        }
        .into()
    })
}

/// What the user has said of the certificate, else what this machine trusts, else what the user says when asked.
async fn trust(globals: &Globals, server: &Url) -> Result<Trust, Error> {
    match (&globals.fingerprint, &globals.ca) {
        (Some(digest), _) => return Ok(Trust::Pinned(*digest)),
        (None, Some(file)) => return Ok(Trust::Authority(file.clone())),
        (None, None) => {}
    }
    let stranger = Client::new(server.as_str(), None, &Trust::System)?;
    let asked = stranger.get::<serde_json::Value>(&["healthz"], &[]).await;
    match asked {
        Err(ref error) if error.is_untrusted() => {}
        Err(error @ client::Error::Unreachable { .. }) => return Err(error.into()),
        // Whether it is a daemon is asked with the token.
        _ => return Ok(Trust::System),
    }
    let Some(fingerprint) = seen_fingerprint(server).await else {
        return Err(Error::Untrusted {
            server: server.clone(),
            fingerprint: None,
        });
    };
    let untrusted = Error::Untrusted {
        server: server.clone(),
        fingerprint: Some(fingerprint),
    };
    if !(io::stdin().is_terminal() && io::stderr().is_terminal()) {
        return Err(untrusted);
    }
    let terminal = Term::stderr();
    terminal.write_line(&format!(
        "nobody whom this machine trusts has signed the certificate of {server}\nthe fingerprint of its key is {fingerprint}\n\
         the daemon's log and its daemon.json tell the right one"
    ))?;
    terminal.write_str("is it the right one? [y/N] ")?;
    let answer = terminal.read_line()?;
    match answer.trim() {
        "y" | "Y" | "yes" => Ok(Trust::Pinned(fingerprint)),
        _ => Err(untrusted),
    }
}

fn token(globals: &Globals, server: &Url) -> Result<Secret, Error> {
    if let Some(token) = connection::given(globals)? {
        return Ok(token);
    }
    let text = if io::stdin().is_terminal() {
        let terminal = Term::stderr();
        terminal.write_str(&format!("token for {server}: "))?;
        terminal.read_secure_line()?
    } else {
        let mut text = String::new();
        io::stdin()
            .lock()
            .read_to_string(&mut text)
            .map_err(|source| Error::Read {
                path: "-".into(),
                source,
            })?;
        text
    };
    if text.trim().is_empty() {
        return Err(Error::NoToken);
    }
    text.trim()
        .parse()
        .map_err(|source| Error::NotAToken { source })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_without_a_scheme_is_spoken_to_in_tls() {
        let text = |given: &str| server(given).map(|url| url.to_string()).ok();
        assert_eq!(
            text("prod.example.com:7180").as_deref(),
            Some("https://prod.example.com:7180/")
        );
        assert_eq!(
            text("http://127.0.0.1:1").as_deref(),
            Some("http://127.0.0.1:1/")
        );
        for bad in ["ftp://x", "https://user@x", "https://x/?a=b", ""] {
            assert_eq!(text(bad), None, "{bad}");
        }
    }
}
