//! Instances and load balancers of AWS, as a port.

use async_trait::async_trait;

use crate::{failure::Failure, grant::AwsGrant, names::InstanceName};

/// EC2 and Elastic Load Balancing. The implementation checks every argument against the grant and owns every effect.
#[async_trait]
pub trait Aws: Send + Sync {
    /// The availability zones of a region that can be used.
    async fn zones(&self, owner: &InstanceName, grant: &AwsGrant, region: &str) -> Result<Vec<String>, Failure>;
}
