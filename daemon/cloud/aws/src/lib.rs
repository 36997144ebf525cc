//! The outer side of the AWS capability: EC2 and Elastic Load Balancing.

use std::path::PathBuf;

use async_trait::async_trait;
use tradewind_core::{capability::aws::Aws, failure::Failure, grant::AwsGrant, names::InstanceName};
use tradewind_credentials::Credentials;

/// What it works with.
#[derive(Clone)]
pub struct Options {
    pub credentials: Credentials,
    /// Holds the secrets of workloads as files.
    pub secrets: PathBuf,
}

/// Serves the capability for every instance. Cheap to clone.
#[derive(Clone)]
pub struct Accounts {
    _options: Options,
}

impl Accounts {
    pub fn new(options: Options) -> Self {
        Self { _options: options }
    }
}

#[async_trait]
impl Aws for Accounts {
    async fn zones(&self, _: &InstanceName, _: &AwsGrant, _: &str) -> Result<Vec<String>, Failure> {
        Err(Failure::unavailable("under construction"))
    }
}
