//! The grant of the capability `aws`.

use serde::{Deserialize, Serialize};

/// EC2 and Elastic Load Balancing in one account.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct AwsGrant {
    /// Regions that may be used.
    pub regions: Vec<String>,
}
