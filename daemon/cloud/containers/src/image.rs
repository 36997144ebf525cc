//! Images: pulled where the grant lets the engine do it.

use bollard::{
    Docker, auth::DockerCredentials, models::ImageInspect,
    query_parameters::CreateImageOptionsBuilder,
};
use futures::TryStreamExt;
use tradewind_core::{
    failure::{Failure, WORKLOAD},
    grant::{ContainersGrant, pattern},
    image::{self, Exact, split},
    names::InstanceName,
};
use tradewind_credentials::Credentials;

use crate::{Shared, check::Prepared, errors};

/// An image that is there.
pub(crate) struct Found {
    /// How the engine is asked for it: its name, or its id where the name may mean another one.
    pub(crate) named: String,
    /// Its name and digest, for people and for other engines; empty: not known.
    pub(crate) reference: String,
}

/// What the engine has under a spec's image; none: it is to be pulled, or named by the engine when a container is made of it.
///
/// # Errors
/// `denied` when a revision's image is not to be had any more, or is not granted under its digest.
pub(crate) async fn find(
    shared: &Shared,
    engine: &Docker,
    owner: &InstanceName,
    grant: &ContainersGrant,
    prepared: &Prepared,
) -> Result<Option<Found>, Failure> {
    let wanted = &prepared.spec.image;
    let look = async |name: &str| match engine.inspect_image(name).await {
        Ok(there) => Ok(Some(there)),
        Err(error) if errors::is_missing(&error) => Ok(None),
        Err(error) => {
            Err(errors::made_for(grant, &error, "the image can't be looked up").field("image"))
        }
    };
    let (name, Some(exact)) = split(wanted) else {
        let Some(there) = look(wanted).await? else {
            return Ok(None);
        };
        let reference = exact_of(wanted, &there)
            .map_or_else(String::new, |exact| image::pinned(wanted, &exact));
        if let Some(id) = there.id.filter(|_| !reference.is_empty()) {
            shared
                .images
                .lock()
                .insert((owner.clone(), reference.clone()), id);
        }
        return Ok(Some(Found {
            named: wanted.clone(),
            reference,
        }));
    };
    let found = |id: String| {
        Some(Found {
            named: id,
            reference: wanted.clone(),
        })
    };
    // What the name means now.
    let now = look(name).await?;
    if let Some(ImageInspect { id: Some(id), .. }) = now.as_ref().filter(|there| is(there, &exact))
    {
        return Ok(found(id.clone()));
    }
    // What it meant when a container of that name was made here.
    let listed = shared.list(engine, owner, grant).await?;
    let made = listed
        .into_iter()
        .find(|l| l.note.image == *wanted)
        .and_then(|l| l.image_id);
    let known = made.or_else(|| {
        shared
            .images
            .lock()
            .get(&(owner.clone(), wanted.clone()))
            .cloned()
    });
    if let Some(id) = known
        && let Some(ImageInspect { id: Some(id), .. }) = look(&id).await?
    {
        return Ok(found(id));
    }
    match exact {
        // An image that came from no registry can't be told apart by a registry's digest.
        Exact::Digest(_)
            if now
                .as_ref()
                .is_some_and(|there| there.repo_digests.iter().flatten().next().is_none()) =>
        {
            return Ok(now.map(|_| Found {
                named: name.to_owned(),
                reference: String::new(),
            }));
        }
        Exact::Digest(_) if prepared.by_digest => {
            let there = look(&by_digest(wanted)).await?;
            return Ok(there.and_then(|there| there.id).and_then(found));
        }
        Exact::Id(id) => {
            let granted = |image: &String| grant.images.iter().any(|p| pattern::matches(p, image));
            let all = grant.images.iter().any(|p| *p == "*");
            let there = look(&id.hex()).await?.filter(|there| is(there, &exact));
            if let Some(id) = there
                .filter(|t| all || t.repo_tags.iter().flatten().any(granted))
                .and_then(|there| there.id)
            {
                return Ok(found(id));
            }
        }
        Exact::Digest(_) => {}
    }
    let message = format!(
        "the image \"{name}\" is not the one any more that this revision runs, which is {}",
        exact.short()
    );
    let remedy = format!(
        "load that image again, apply a revision that names the new one, or add \"{name}@*\" to images in [grants.containers]"
    );
    Err(Failure::denied(message)
        .field("image")
        .code(WORKLOAD)
        .remedy(remedy))
}

/// What others know the image by. One that came from no registry has its id, which this engine alone knows.
fn exact_of(name: &str, there: &ImageInspect) -> Option<Exact> {
    let known = || {
        there
            .repo_digests
            .iter()
            .flatten()
            .map(|reference| split(reference))
    };
    // An image may be in several repositories, each with a digest of its own.
    let own = known()
        .find(|(repository, _)| repository.ends_with(repository_of(name)))
        .or_else(|| known().next());
    let of_registry = own
        .and_then(|(_, exact)| exact)
        .filter(|_| registry(name) != "localhost");
    of_registry.or_else(|| there.id.as_deref()?.parse().ok().map(Exact::Id))
}

fn is(there: &ImageInspect, exact: &Exact) -> bool {
    match exact {
        Exact::Digest(_) => there
            .repo_digests
            .iter()
            .flatten()
            .any(|reference| split(reference).1 == Some(*exact)),
        Exact::Id(id) => there.id.as_deref().and_then(|id| id.parse().ok()) == Some(*id),
    }
}

/// `NAME@DIGEST`: engines take a digest alone, and not all take a tag beside it.
fn by_digest(image: &str) -> String {
    let (name, Some(digest @ Exact::Digest(_))) = split(image) else {
        return image.to_owned();
    };
    format!("{}@{digest}", repository_of(name))
}

/// A name without its tag.
fn repository_of(name: &str) -> &str {
    let last = name.rfind('/').map_or(0, |at| at + 1);
    let tag = name
        .get(last..)
        .and_then(|part| part.find(':'))
        .map_or(name.len(), |at| last + at);
    name.get(..tag).unwrap_or(name)
}

/// What is said of an image that the engine lacks and may not, or shall not, pull.
pub(crate) fn missing(image: &str, by_choice: bool) -> Failure {
    let remedy = if by_choice {
        "load it into the engine, or let the settings say pull = \"missing\""
    } else {
        "load it into the engine, or set pull = true in [grants.containers] of the instance file"
    };
    Failure::invalid(format!("the engine does not have the image \"{image}\""))
        .field("image")
        .code("no-such-image")
        .remedy(remedy)
}

/// Pulls an image, with the granted credential of its registry if there is one.
pub(crate) async fn pull(
    engine: &Docker,
    grant: &ContainersGrant,
    credentials: &Credentials,
    image: &str,
) -> Result<(), Failure> {
    let host = registry(image);
    let granted = grant.registries.iter().find(|r| r.host == host);
    let credential = match granted {
        Some(granted) => {
            let value = credentials.line(&granted.host, &granted.source).await?;
            let (user, password) = value.expose().split_once(':').ok_or_else(|| {
                Failure::denied(format!(
                    "the credential of the registry \"{host}\" is not of the form user:password"
                ))
                .field("registries")
            })?;
            let (username, password) = (Some(user.to_owned()), Some(password.to_owned()));
            Some(DockerCredentials {
                username,
                password,
                serveraddress: Some(host.to_owned()),
                ..Default::default()
            })
        }
        None => None,
    };
    let options = CreateImageOptionsBuilder::new()
        .from_image(&by_digest(&named(image)))
        .build();
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
    if last.contains([':', '@']) {
        image.to_owned()
    } else {
        format!("{image}:latest")
    }
}

#[cfg(test)]
mod tests {
    use tradewind_core::names::Digest;

    use super::*;

    #[test]
    fn one_image_of_one_registry_is_pulled() {
        for (image, host, whole) in [
            ("nginx", "docker.io", "nginx:latest"),
            ("team/app:2", "docker.io", "team/app:2"),
            (
                "registry.example.com:5000/app",
                "registry.example.com:5000",
                "registry.example.com:5000/app:latest",
            ),
            (
                "localhost/app@sha256:00",
                "localhost",
                "localhost/app@sha256:00",
            ),
        ] {
            assert_eq!((registry(image), named(image).as_str()), (host, whole));
        }
    }

    #[test]
    fn a_digest_takes_the_place_of_a_tag() {
        let digest = Exact::Digest(Digest::of(b"x"));
        for (name, bare) in [
            ("nginx", "nginx"),
            ("a/b:2", "a/b"),
            (
                "registry.example.com:5000/app:1",
                "registry.example.com:5000/app",
            ),
        ] {
            assert_eq!(
                by_digest(&format!("{name}@{digest}")),
                format!("{bare}@{digest}")
            );
            assert_eq!(by_digest(name), name);
        }
    }

    #[test]
    fn an_image_is_known_by_the_digest_of_its_registry_or_by_its_id() {
        let (id, digest) = (Digest::of(b"id"), Digest::of(b"digest"));
        let local = ImageInspect {
            id: Some(id.to_string()),
            ..Default::default()
        };
        let pulled = ImageInspect {
            repo_digests: Some(vec![format!("a/b@{digest}")]),
            ..local.clone()
        };
        let other = format!("docker.io/library/c@{}", Digest::of(b"other"));
        let both = ImageInspect {
            repo_digests: Some(vec![other, format!("docker.io/a/b@{digest}")]),
            ..local.clone()
        };
        assert_eq!(
            exact_of("a/b:1", &both),
            Some(Exact::Digest(digest)),
            "that of its own repository"
        );
        let podman = ImageInspect {
            id: Some(id.hex()),
            repo_digests: Some(vec![format!("localhost/b@{digest}")]),
            ..Default::default()
        };
        assert_eq!(exact_of("a/b:1", &local), Some(Exact::Id(id)));
        assert_eq!(exact_of("a/b:1", &pulled), Some(Exact::Digest(digest)));
        assert_eq!(
            exact_of("localhost/b:1", &podman),
            Some(Exact::Id(id)),
            "no registry has it"
        );
        for (there, exact, wanted) in [
            (&local, Exact::Id(id), true),
            (&pulled, Exact::Id(id), true),
            (&pulled, Exact::Digest(digest), true),
            (&local, Exact::Digest(digest), false),
            (&podman, Exact::Id(digest), false),
        ] {
            assert_eq!(is(there, &exact), wanted, "{exact}");
        }
    }
}
