//! Images: pulled where the grant lets the engine do it.

use bollard::{Docker, auth::DockerCredentials, query_parameters::CreateImageOptionsBuilder};
use futures::TryStreamExt;
use tradewind_core::{failure::Failure, grant::ContainersGrant};
use tradewind_credentials::Credentials;

use crate::errors;

/// What is said of an image that the engine lacks and may not, or shall not, pull.
pub(crate) fn missing(image: &str, by_choice: bool) -> Failure {
    let remedy = if by_choice {
        "load it into the engine, or let the settings say pull = \"missing\""
    } else {
        "load it into the engine, or set pull = true in [grants.containers] of the instance file"
    };
    Failure::invalid(format!("the engine does not have the image \"{image}\"")).field("image").code("no-such-image").remedy(remedy)
}

/// Pulls an image, with the granted credential of its registry if there is one.
pub(crate) async fn pull(engine: &Docker, grant: &ContainersGrant, credentials: &Credentials, image: &str) -> Result<(), Failure> {
    let host = registry(image);
    let granted = grant.registries.iter().find(|r| r.host == host);
    let credential = match granted {
        Some(granted) => {
            let value = credentials.line(&granted.host, &granted.source).await?;
            let (user, password) = value.expose().split_once(':').ok_or_else(|| {
                Failure::denied(format!("the credential of the registry \"{host}\" is not of the form user:password")).field("registries")
            })?;
            let (username, password) = (Some(user.to_owned()), Some(password.to_owned()));
            Some(DockerCredentials { username, password, serveraddress: Some(host.to_owned()), ..Default::default() })
        }
        None => None,
    };
    let options = CreateImageOptionsBuilder::new().from_image(&named(image)).build();
    let progress = engine.create_image(Some(options), None, credential);
    let done = progress.try_for_each(|_| async { Ok(()) }).await;
    done.map_err(|error| {
        if granted.is_some() {
            // It may have been the credential: the next attempt asks for it anew.
            credentials.forget();
        }
        errors::pull(grant, &error, image)
    })
}

/// What an image's name begins with, if that is a host.
fn registry(image: &str) -> &str {
    match image.split_once('/') {
        Some((host, _)) if host.contains(['.', ':']) || host == "localhost" => host,
        _ => "docker.io",
    }
}

/// With a tag: without one, engines pull every tag there is.
fn named(image: &str) -> String {
    let last = image.rsplit('/').next().unwrap_or_default();
    if last.contains([':', '@']) { image.to_owned() } else { format!("{image}:latest") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_image_of_one_registry_is_pulled() {
        for (image, host, whole) in [
            ("nginx", "docker.io", "nginx:latest"),
            ("team/app:2", "docker.io", "team/app:2"),
            ("registry.example.com:5000/app", "registry.example.com:5000", "registry.example.com:5000/app:latest"),
            ("localhost/app@sha256:00", "localhost", "localhost/app@sha256:00"),
        ] {
            assert_eq!((registry(image), named(image).as_str()), (host, whole));
        }
    }
}
