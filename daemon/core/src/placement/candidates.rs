//! Hard constraints: from needs and offers to candidates with their costs.

use crate::{
    manifest::Constraints,
    names::{DeploymentName, Namespace, TaskName},
    offer::Offer,
    plugin::Features,
    units::{MicroUsd, Millis},
    workload::{Labels, Resources, Workload},
};

/// What one task wants of the scheduler.
#[derive(Debug, Clone, PartialEq)]
pub struct Want {
    pub namespace: Namespace,
    pub deployment: DeploymentName,
    pub name: TaskName,
    pub need: Need,
}

/// What makes tasks share a shape.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Need {
    pub resources: Resources,
    pub duration: Millis,
    pub constraints: Constraints,
}

/// Why an offer is no candidate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exclusion {
    pub reason: String,
}

pub fn build() {}
