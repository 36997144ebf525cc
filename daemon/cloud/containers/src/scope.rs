//! What a deployment's containers share: networks and persistent volumes, made when first needed. Networks go with the last container in
//! them; volumes stay.

use std::collections::HashMap;

use bollard::{
    Docker,
    models::{NetworkCreateRequest, VolumeCreateRequest},
    query_parameters::{ListContainersOptionsBuilder, ListNetworksOptionsBuilder},
};
use tokio::sync::Semaphore;
use tradewind_core::{
    capability::Attempt,
    failure::{Failure, NOT_OURS},
    grant::ContainersGrant,
    names::InstanceName,
    workload::Network,
};

use crate::{errors, labels};

/// Makes and removes networks one after the other: two of one name, made at once, would both exist in some engines.
pub(crate) struct Networks(Semaphore);

impl Default for Networks {
    fn default() -> Self {
        Self(Semaphore::new(1))
    }
}

impl Networks {
    /// Sees to it that a network of this name is there, and is ours.
    pub(crate) async fn ensure(
        &self,
        engine: &Docker,
        grant: &ContainersGrant,
        owner: &InstanceName,
        attempt: &Attempt,
        network: &Network,
    ) -> Result<String, Failure> {
        let name = labels::scoped(owner, attempt, &network.name);
        let _turn = self.0.acquire().await;
        match engine.inspect_network(&name, None).await {
            Ok(there) if labels::is_of(owner, there.labels.as_ref()) => return Ok(name),
            Ok(_) => return Err(foreign("network", &name).field("networks")),
            Err(error) if errors::is_missing(&error) => {}
            Err(error) => {
                return Err(errors::failure(
                    grant,
                    &error,
                    "the network can't be looked up",
                ));
            }
        }
        let request = NetworkCreateRequest {
            name: name.clone(),
            internal: Some(network.internal),
            labels: Some(labels::of_scope(owner, attempt)),
            ..Default::default()
        };
        match engine.create_network(request).await {
            Ok(_) => Ok(name),
            Err(error) if errors::is_taken(&error) => Ok(name),
            Err(error) => Err(errors::made_for(
                grant,
                &error,
                &format!("the network \"{}\" can't be made", network.name),
            )
            .field("networks")),
        }
    }

    /// Removes every network of an instance that no container is in: for when nobody is left to tell which those were.
    pub(crate) async fn sweep(&self, engine: &Docker, owner: &InstanceName) {
        let ours = HashMap::from([(
            "label".to_owned(),
            vec![format!("{}={owner}", labels::INSTANCE)],
        )]);
        let listed = engine
            .list_networks(Some(
                ListNetworksOptionsBuilder::new().filters(&ours).build(),
            ))
            .await;
        let names: Vec<String> = listed
            .unwrap_or_default()
            .into_iter()
            .filter_map(|n| n.name)
            .collect();
        self.leave(engine, owner, &names).await;
    }

    /// Removes those of these networks that no container is in any more. What can't be removed now is left to the next one who leaves.
    pub(crate) async fn leave(&self, engine: &Docker, owner: &InstanceName, names: &[String]) {
        for name in names {
            let _turn = self.0.acquire().await;
            let inside = HashMap::from([("network".to_owned(), vec![name.clone()])]);
            let options = ListContainersOptionsBuilder::new()
                .all(true)
                .filters(&inside)
                .build();
            let inside = errors::settled(|| engine.list_containers(Some(options.clone()))).await;
            let empty = inside.is_ok_and(|all| all.is_empty());
            let ours = || async {
                engine
                    .inspect_network(name, None)
                    .await
                    .is_ok_and(|n| labels::is_of(owner, n.labels.as_ref()))
            };
            if !empty || !ours().await {
                continue;
            }
            if let Err(error) = engine.remove_network(name).await {
                tracing::debug!(network = %name, %error, "a network stays until the next container leaves it");
            }
        }
    }
}

/// Sees to it that a volume of this name is there, and is ours.
pub(crate) async fn volume(
    engine: &Docker,
    grant: &ContainersGrant,
    owner: &InstanceName,
    attempt: &Attempt,
    name: &str,
) -> Result<String, Failure> {
    let (told, name) = (name, labels::scoped(owner, attempt, name));
    let request = VolumeCreateRequest {
        name: Some(name.clone()),
        labels: Some(labels::of_scope(owner, attempt)),
        ..Default::default()
    };
    // An engine that has a volume of that name answers with it.
    let made = engine.create_volume(request).await;
    let made = made.map_err(|e| {
        errors::made_for(grant, &e, &format!("the volume \"{told}\" can't be made"))
            .field("volumes")
    })?;
    if labels::is_of(owner, Some(&made.labels)) {
        Ok(name)
    } else {
        Err(foreign("volume", &name).field("volumes"))
    }
}

/// Something of our name without our label: somebody else's, not to be touched.
pub(crate) fn foreign(what: &str, name: &str) -> Failure {
    Failure::denied(format!("the {what} \"{name}\" is not this instance's"))
        .code(NOT_OURS)
        .remedy(format!("rename or remove that {what}"))
}
