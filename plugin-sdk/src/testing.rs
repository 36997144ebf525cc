//! Runs a plugin's logic natively, under plain `cargo test`.
//!
//! For policies, [`Batch`] makes a request as the host would (only the columns that the policy asked for), calls it, and checks that the
//! answer keeps every limit. For providers, [`allocation`] makes something to apply, and [`Clock`], [`Processes`], [`Containers`] and [`Web`]
//! stand for the host's capabilities, which exist only inside the daemon.

pub mod aws;
mod batch;
mod cluster;
mod containers;
mod doubles;
mod web;

pub use batch::{Batch, OfferSpec, Placement, TaskSpec};
pub use cluster::Cluster;
pub use containers::Containers;
pub use doubles::{Clock, Processes};
pub use web::Web;

use crate::{
    Context, Error, Provider, settings,
    types::{Allocation, ChosenOffer, Port, Probes, Protocol, Resources, Run, Tracked, Workload},
    units::GIB,
};

/// A provider as a call of the host makes it.
///
/// # Errors
/// What the provider says of the settings.
pub fn provider<P: Provider>(settings: &str) -> Result<P, Error> {
    P::new(
        Context {
            instance: "under-test".to_owned(),
            deadline: 30_000,
        },
        settings::read(settings)?,
    )
}

/// A service's allocation of so many replicas on an offer: one core, 1 GiB, the command `sleep 1000`. Change what matters.
pub fn allocation(id: &str, offer: &str, replicas: u32) -> Allocation {
    Allocation {
        id: id.to_owned(),
        namespace: "default".to_owned(),
        deployment: "test".to_owned(),
        task: "web".to_owned(),
        generation: 1,
        replicas,
        workload: workload(),
        offer: ChosenOffer {
            id: offer.to_owned(),
            region: String::new(),
            zone: String::new(),
            size: String::new(),
            spot: false,
            price: 0,
            labels: Vec::new(),
        },
        token: "token".to_owned(),
        tags: Vec::new(),
        traffic: None,
    }
}

/// The workload of [`allocation`].
pub fn workload() -> Workload {
    Workload {
        run: Run::Service,
        image: None,
        command: vec!["sleep".to_owned(), "1000".to_owned()],
        arguments: Vec::new(),
        working_directory: None,
        user: String::new(),
        env: Vec::new(),
        ports: Vec::new(),
        volumes: Vec::new(),
        networks: Vec::new(),
        files: Vec::new(),
        resources: Resources {
            cpu: 1000,
            memory: GIB,
            disk: 0,
            accelerators: Vec::new(),
        },
        limits: None,
        probes: Probes {
            startup: None,
            readiness: None,
            liveness: None,
        },
        stop_signal: "TERM".to_owned(),
        stop_grace: 10_000,
        scaling: None,
        labels: Vec::new(),
        extensions: Vec::new(),
    }
}

/// A port of a workload that the provider numbers.
pub fn port(name: &str) -> Port {
    Port {
        name: name.to_owned(),
        number: 0,
        published: None,
        protocol: Protocol::Http,
        exposure: crate::types::Exposure::Public,
    }
}

/// What the host hands back for an allocation after `apply`.
pub fn tracked(allocation: &Allocation, state: &[u8]) -> Tracked {
    Tracked {
        allocation: allocation.id.clone(),
        state: state.to_owned(),
    }
}
