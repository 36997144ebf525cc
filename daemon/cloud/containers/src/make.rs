//! Making one container: image, networks, volumes, files, start. What a start that fails has made goes again.

use std::{path::Path, sync::Arc};

use bollard::{
    Docker, body_full,
    errors::Error,
    models::{ContainerCreateBody, NetworkConnectRequest},
    query_parameters::{
        CreateContainerOptionsBuilder, RemoveContainerOptionsBuilder, StartContainerOptions,
        UploadToContainerOptionsBuilder,
    },
};
use tradewind_core::{
    capability::{
        Attempt,
        containers::{ContainerKey, Pull},
    },
    failure::Failure,
    grant::ContainersGrant,
    names::InstanceName,
    units::Millis,
    workload::{Run, VolumeSource},
};

use crate::{
    STARTING, Shared, archive,
    body::{self, Names},
    check::{self, Prepared},
    errors,
    image::{self, Found},
    injected::{self, Injected},
    labels::{self, Note},
    scope,
};

/// A container that shall be.
pub(crate) struct Wanted {
    pub(crate) owner: InstanceName,
    pub(crate) grant: ContainersGrant,
    pub(crate) attempt: Attempt,
    pub(crate) key: ContainerKey,
    pub(crate) prepared: Prepared,
}

/// How often what the container stands on may vanish while it is being made: its last user may just have left a network.
const ATTEMPTS: u32 = 3;

impl Wanted {
    /// Makes the container and starts it. Answers the engine's id.
    pub(crate) async fn make(
        self,
        shared: &Arc<Shared>,
        engine: &Docker,
    ) -> Result<String, Failure> {
        let (wanted, given) = self.given(shared.clone()).await?;
        let made = wanted.made(shared, engine, &given).await;
        if made.is_err() && !wanted.prepared.spec.networks.is_empty() {
            shared.networks.sweep(engine, &wanted.owner).await;
        }
        made.map_err(|failure| given.redact(failure))
    }

    /// With what it is given, read off the async threads.
    async fn given(self, shared: Arc<Shared>) -> Result<(Self, Injected), Failure> {
        let read = tokio::task::spawn_blocking(move || {
            let granted = check::secrets_of(&self.grant);
            let given = injected::give(
                &self.prepared.spec,
                granted,
                &shared.options.secrets,
                &shared.chosen,
            )?;
            Ok((self, given))
        });
        read.await.unwrap_or_else(|e| {
            Err(Failure::internal(format!(
                "the container's files could not be read: {e}"
            )))
        })
    }

    async fn made(
        &self,
        shared: &Shared,
        engine: &Docker,
        given: &Injected,
    ) -> Result<String, Failure> {
        let spec = &self.prepared.spec;
        // What a digest names never changes.
        if spec.pull == Pull::Always && tradewind_core::image::split(&spec.image).1.is_none() {
            image::pull(
                engine,
                &self.grant,
                &shared.options.credentials,
                &spec.image,
            )
            .await?;
        }
        let mut attempts = 0;
        let (id, names, image) = loop {
            attempts += 1;
            let names = self.names(shared, engine).await?;
            let found =
                image::find(shared, engine, &self.owner, &self.grant, &self.prepared).await?;
            if found.is_none() && attempts < ATTEMPTS && self.may_pull() {
                image::pull(
                    engine,
                    &self.grant,
                    &shared.options.credentials,
                    &spec.image,
                )
                .await?;
                continue;
            }
            let image = found
                .as_ref()
                .map_or_else(|| spec.image.clone(), |f| f.named.clone());
            match self.create(engine, self.body(given, &names, found)).await {
                Ok(id) => break (id, names, image),
                Err(error)
                    if errors::is_missing(&error)
                        && attempts < ATTEMPTS
                        && !is_of_image(&error) => {}
                Err(error)
                    if errors::is_missing(&error) && attempts < ATTEMPTS && self.may_pull() =>
                {
                    image::pull(
                        engine,
                        &self.grant,
                        &shared.options.credentials,
                        &spec.image,
                    )
                    .await?;
                }
                Err(error) if errors::is_missing(&error) && is_of_image(&error) => {
                    return Err(image::missing(&spec.image, spec.pull == Pull::Never));
                }
                Err(error) => {
                    return Err(errors::start(
                        &self.grant,
                        engine,
                        &error,
                        "the container can't be made",
                    )
                    .await);
                }
            }
        };
        match self.finish(engine, &id, given, &names, &image).await {
            Ok(()) => Ok(id),
            Err(failure) => {
                let options = RemoveContainerOptionsBuilder::new()
                    .force(true)
                    .v(true)
                    .build();
                if let Err(error) = engine.remove_container(&id, Some(options)).await {
                    tracing::warn!(container = %id, %error, "a container that did not start stays behind");
                }
                Err(failure)
            }
        }
    }

    fn may_pull(&self) -> bool {
        self.grant.pull && self.prepared.spec.pull != Pull::Never
    }

    async fn names(&self, shared: &Shared, engine: &Docker) -> Result<Names, Failure> {
        let spec = &self.prepared.spec;
        let mut names = Names {
            networks: Vec::new(),
            volumes: Vec::new(),
            alias: labels::alias(&self.attempt).cloned(),
        };
        for network in &spec.networks {
            names.networks.push(
                shared
                    .networks
                    .ensure(engine, &self.grant, &self.owner, &self.attempt, network)
                    .await?,
            );
        }
        for volume in &spec.volumes {
            names.volumes.push(match &volume.source {
                VolumeSource::Persistent { name, .. } => Some(
                    scope::volume(engine, &self.grant, &self.owner, &self.attempt, name).await?,
                ),
                _ => None,
            });
        }
        Ok(names)
    }

    fn body(&self, given: &Injected, names: &Names, found: Option<Found>) -> ContainerCreateBody {
        let spec = &self.prepared.spec;
        let deadline = match spec.run {
            Run::Service => None,
            Run::Job { deadline, .. } => deadline,
        };
        let note = Note {
            digest: self.prepared.digest.clone(),
            token: self.attempt.token.clone(),
            job: matches!(spec.run, Run::Job { .. }),
            restarts: body::restarts(spec),
            deadline: deadline.map(|Millis(d)| d),
            stop_grace: spec.stop_grace.0,
            cpu: u64::from(spec.resources.cpu.0),
            memory: spec.resources.memory.0,
            host_network: spec.host_network,
            ports: given.ports.clone(),
            networks: names.networks.clone(),
            image: found
                .as_ref()
                .map(|f| f.reference.clone())
                .unwrap_or_default(),
        };
        let image = found.map_or_else(|| spec.image.clone(), |f| f.named);
        let labels =
            labels::of_container(&self.owner, &self.attempt, &self.key, &spec.labels, &note);
        ContainerCreateBody {
            image: Some(image),
            ..body::body(&self.grant, &self.prepared, given, names, labels)
        }
    }

    async fn create(&self, engine: &Docker, body: ContainerCreateBody) -> Result<String, Error> {
        let options = CreateContainerOptionsBuilder::new()
            .name(&labels::container(&self.owner, &self.key))
            .build();
        Ok(engine.create_container(Some(options), body).await?.id)
    }

    async fn finish(
        &self,
        engine: &Docker,
        id: &str,
        given: &Injected,
        names: &Names,
        image: &str,
    ) -> Result<(), Failure> {
        for network in names.networks.iter().skip(1) {
            let request = NetworkConnectRequest {
                container: id.to_owned(),
                endpoint_config: Some(body::endpoint(names.alias.as_ref())),
            };
            let joined = engine.connect_network(network, request).await;
            joined.map_err(|e| {
                errors::made_for(
                    &self.grant,
                    &e,
                    &format!("the container can't join the network \"{network}\""),
                )
            })?;
        }
        if !given.files.is_empty() {
            let archive = self.archive(engine, given, image).await?;
            let options = UploadToContainerOptionsBuilder::new().path("/").build();
            let uploaded = engine
                .upload_to_container(id, Some(options), body_full(archive.into()))
                .await;
            uploaded.map_err(|e| {
                errors::made_for(&self.grant, &e, "the container's files can't be written")
                    .field("files")
            })?;
        }
        match engine
            .start_container(id, None::<StartContainerOptions>)
            .await
        {
            Ok(()) => Ok(()),
            Err(error) => Err(errors::start(&self.grant, engine, &error, STARTING).await),
        }
    }

    async fn archive(
        &self,
        engine: &Docker,
        given: &Injected,
        image: &str,
    ) -> Result<Vec<u8>, Failure> {
        let relative = given.files.iter().any(|f| Path::new(&f.path).is_relative());
        let folder = match (&self.prepared.spec.working_directory, relative) {
            (Some(folder), _) => folder.clone(),
            (None, false) => String::new(),
            (None, true) => {
                let image = engine.inspect_image(image).await;
                let image = image.map_err(|e| {
                    errors::failure(&self.grant, &e, "the image can't be looked up")
                })?;
                image.config.and_then(|c| c.working_dir).unwrap_or_default()
            }
        };
        let paths: Vec<String> = given
            .files
            .iter()
            .map(|f| {
                Path::new("/")
                    .join(&folder)
                    .join(&f.path)
                    .display()
                    .to_string()
            })
            .collect();
        if let Some(path) = paths.iter().find(|p| !archive::fits(p)) {
            return Err(Failure::invalid(format!(
                "the path \"{}\" is too long",
                path.escape_debug()
            ))
            .field("files"));
        }
        // Absolute paths are held against the volumes where the manifest is read; of others the folder is known only here.
        let kept = |path: &str| {
            let mut volumes = self
                .prepared
                .spec
                .volumes
                .iter()
                .filter(|v| !matches!(v.source, VolumeSource::Scratch { .. }));
            volumes.find(|v| Path::new(path).starts_with(&v.path))
        };
        let within = given
            .files
            .iter()
            .zip(&paths)
            .filter(|(file, _)| Path::new(&file.path).is_relative());
        if let Some((path, volume)) = within
            .filter_map(|(_, path)| kept(path).map(|volume| (path, volume)))
            .next()
        {
            let message = format!(
                "the file \"{}\" is in the volume at \"{}\", which keeps what it holds",
                path.escape_debug(),
                volume.path
            );
            return Err(Failure::invalid(message)
                .field("files")
                .remedy("write the file outside of that volume"));
        }
        let owner = numbers(&self.prepared.spec.user);
        let entries: Vec<_> = given
            .files
            .iter()
            .zip(&paths)
            .map(|(file, path)| archive::Entry {
                path,
                mode: file.mode,
                owner,
                content: &file.content,
            })
            .collect();
        archive::pack(&entries).map_err(|e| {
            Failure::invalid(format!("the container's files can't be packed: {e}")).field("files")
        })
    }
}

/// A user by number owns the files; the numbers of names are known to the image alone.
fn numbers(user: &str) -> (u32, u32) {
    let (user, group) = user.split_once(':').unwrap_or((user, user));
    let user = user.parse().unwrap_or_default();
    (user, group.parse().unwrap_or(user))
}

fn is_of_image(error: &Error) -> bool {
    errors::says(error, "image")
}
