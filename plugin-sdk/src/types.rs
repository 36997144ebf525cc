//! The contract's shared types: workloads, allocations, observations, logs. `wit/v0.1/types.wit` says what each field means.

pub use crate::bindings::provider::{
    exports::tradewind::plugin::cloud_provider::{Destroyed, OwnedAllocation, WantedCapability},
    tradewind::plugin::types::{
        Accelerator, Allocation, Check, ChosenOffer, Condition, ConfigFile, Endpoint, Entry,
        EnvValue, EnvVar, Exposure, FileContent, Health, Held, HttpCheck, Job, LogChunk, LogLine,
        LogQuery, Network, Observation, OffersQuery, Output, PersistentVolume, Phase, Port,
        PriceUnit, Probe, Probes, Protocol, Replica, Resources, Run, Scaling, SecretRef, Tracked,
        Usage, Volume, VolumeSource, Workload,
    },
};
