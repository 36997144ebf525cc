//! Credentials out of one of the daemon's sources, in the two forms that people keep them in. They go to the signer and nowhere else.

use aws_credential_types::{
    Credentials as Keys,
    provider::{ProvideCredentials, error::CredentialsError, future},
};
use serde::Deserialize;
use tradewind_core::{failure::Failure, grant::CredentialSource};
use tradewind_credentials::{Credentials, Secret};

/// What messages call the credentials of a grant.
const NAME: &str = "aws";
const PROVIDER: &str = "tradewind";

/// Reads a source each time it is asked.
pub(crate) struct Named {
    credentials: Credentials,
    source: CredentialSource,
}

/// What a `credential_process` prints.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Printed {
    access_key_id: String,
    secret_access_key: String,
    #[serde(default)]
    session_token: Option<String>,
}

impl Named {
    pub(crate) fn new(credentials: Credentials, source: CredentialSource) -> Self {
        Self {
            credentials,
            source,
        }
    }

    async fn keys(&self) -> Result<Keys, CredentialsError> {
        let text = self
            .credentials
            .text(NAME, &self.source)
            .await
            .map_err(CredentialsError::provider_error)?;
        parse(&text).ok_or_else(|| CredentialsError::provider_error(unreadable()))
    }
}

impl std::fmt::Debug for Named {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Named")
            .field("source", &self.source)
            .finish_non_exhaustive()
    }
}

impl ProvideCredentials for Named {
    fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
    where
        Self: 'a,
    {
        future::ProvideCredentials::new(self.keys())
    }
}

fn unreadable() -> Failure {
    Failure::denied("the credentials for AWS can't be read: they have neither of the two forms")
        .field("credentials")
        .code("no-credentials")
        .remedy("write KEY-ID:SECRET or KEY-ID:SECRET:SESSION-TOKEN, or the JSON of a credential_process")
}

fn parse(text: &Secret) -> Option<Keys> {
    let text = text.expose().trim();
    if text.starts_with('{') {
        let told: Printed = serde_json::from_str(text).ok()?;
        return Some(keys(
            &told.access_key_id,
            &told.secret_access_key,
            told.session_token,
        ));
    }
    let mut parts = text
        .lines()
        .next()?
        .trim()
        .splitn(3, ':')
        .filter(|part| !part.is_empty());
    let (id, secret) = (parts.next()?, parts.next()?);
    Some(keys(id, secret, parts.next().map(str::to_owned)))
}

fn keys(id: &str, secret: &str, session: Option<String>) -> Keys {
    Keys::new(
        id,
        secret,
        session.filter(|token| !token.is_empty()),
        None,
        PROVIDER,
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_are_read_and_nothing_else() {
        let read = |text: &str| {
            let keys = parse(&Secret::new(text))?;
            Some((
                keys.access_key_id().to_owned(),
                keys.secret_access_key().to_owned(),
                keys.session_token().map(str::to_owned),
            ))
        };
        let keys = |session: Option<&str>| {
            Some((
                "AK".to_owned(),
                "s/+=".to_owned(),
                session.map(str::to_owned),
            ))
        };
        assert_eq!(read("AK:s/+=\n"), keys(None));
        assert_eq!(read("AK:s/+=:to:ken"), keys(Some("to:ken")));
        assert_eq!(
            read(
                r#"{"Version":1,"AccessKeyId":"AK","SecretAccessKey":"s/+=","SessionToken":"t","Expiration":"x"}"#
            ),
            keys(Some("t"))
        );
        for odd in ["", "AK", "AK:", ":s", "{}"] {
            assert_eq!(read(odd), None, "{odd}");
        }
    }

    #[tokio::test]
    async fn what_is_wrong_with_a_source_is_told_without_a_value() {
        let folder = tempfile::Builder::new()
            .permissions(std::os::unix::fs::PermissionsExt::from_mode(0o700))
            .tempdir()
            .unwrap();
        let file = folder.path().join("keys");
        std::fs::write(&file, "hidden").unwrap();
        let named = |path: String| Named::new(Credentials::default(), CredentialSource::File(path));
        let error = named(file.to_str().unwrap().to_owned())
            .keys()
            .await
            .unwrap_err();
        let told = std::error::Error::source(&error)
            .and_then(|cause| cause.downcast_ref::<Failure>())
            .unwrap();
        assert!(told.message.contains("neither") && !format!("{error:?}").contains("hidden"));
        let error = named("/nowhere/keys".to_owned()).keys().await.unwrap_err();
        assert!(
            std::error::Error::source(&error)
                .unwrap()
                .to_string()
                .contains("does not exist")
        );
    }
}
