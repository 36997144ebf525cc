//! The grant of the capability `aws`.

use serde::{Deserialize, Serialize};

use super::{CredentialSource, Entry, spaces::for_namespace};
use crate::base::{names::Namespace, units::Millis};

/// EC2 and Elastic Load Balancing in one account. In lists, `*` stands for any text; what no list names may not be used.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct AwsGrant {
    /// Regions that may be used, by their names in full.
    pub regions: Vec<String>,
    /// With what the daemon signs.
    pub credentials: AwsCredentials,
    /// A role to take on with them, by its ARN.
    #[serde(default)]
    pub assume_role: Option<String>,
    /// Where the API is, instead of at AWS: for clouds that speak as EC2 does, and for tests.
    #[serde(default)]
    pub endpoint: Option<String>,
    /// Instance types that may be run (`t3.*`).
    #[serde(default)]
    pub instance_types: Vec<Entry>,
    /// Images that may be run, by their ids.
    #[serde(default)]
    pub images: Vec<Entry>,
    /// Subnets that instances may be run in, by their ids.
    #[serde(default)]
    pub subnets: Vec<Entry>,
    /// Security groups that may be given, by their ids.
    #[serde(default)]
    pub security_groups: Vec<Entry>,
    /// Key pairs that may be given, by their names.
    #[serde(default)]
    pub key_names: Vec<Entry>,
    /// Instance profiles that may be given, by their names.
    #[serde(default)]
    pub instance_profiles: Vec<Entry>,
    /// Whether load balancers may be made.
    #[serde(default)]
    pub load_balancers: bool,
    /// The most instances at once, over all regions.
    #[serde(default = "AwsGrant::default_instances")]
    pub instances: u32,
    /// Secrets that may be passed to instances, by name: files of the daemon's secrets folder, a namespace's own first.
    #[serde(default)]
    pub secrets: Vec<Entry>,
    /// The longest one request may take, repetitions included. Keep it below `limits.deadline`.
    #[serde(default = "AwsGrant::default_timeout")]
    pub timeout: Millis,
    /// For whose workloads these limits are.
    #[serde(skip)]
    pub namespace: Option<Namespace>,
}

impl AwsGrant {
    /// What workloads of one namespace may have of it; none: nobody knows for whom it is asked, and what is for some is left out.
    pub fn for_namespace(&self, namespace: Option<&Namespace>) -> Self {
        Self {
            instance_types: for_namespace(&self.instance_types, namespace),
            images: for_namespace(&self.images, namespace),
            subnets: for_namespace(&self.subnets, namespace),
            security_groups: for_namespace(&self.security_groups, namespace),
            key_names: for_namespace(&self.key_names, namespace),
            instance_profiles: for_namespace(&self.instance_profiles, namespace),
            secrets: for_namespace(&self.secrets, namespace),
            namespace: namespace.cloned(),
            ..self.clone()
        }
    }

    fn default_instances() -> u32 {
        20
    }
    fn default_timeout() -> Millis {
        Millis::from_secs(8)
    }
}

/// Where the credentials of an account come from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(
    untagged,
    expecting = "not a source of credentials: use \"default\", or one of profile, env, file, command, sealed, credential"
)]
pub enum AwsCredentials {
    /// What AWS's own libraries find on the machine.
    Chain(AwsChain),
    /// A value of the form `KEY-ID:SECRET[:SESSION-TOKEN]`, or the JSON that a `credential_process` prints.
    Source(CredentialSource),
}

/// The places where AWS's own tools look.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum AwsChain {
    /// The daemon's environment, the shared files, a web identity, the container's or the machine's role.
    Default,
    /// Likewise, with this profile of the shared files.
    Profile(String),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sources_of_credentials_read_as_documented() {
        let read = |text: &str| serde_json::from_str::<AwsCredentials>(text);
        assert_eq!(
            read(r#""default""#).unwrap(),
            AwsCredentials::Chain(AwsChain::Default)
        );
        assert_eq!(
            read(r#"{"profile":"prod"}"#).unwrap(),
            AwsCredentials::Chain(AwsChain::Profile("prod".to_owned()))
        );
        assert_eq!(
            read(r#"{"file":"/k"}"#).unwrap(),
            AwsCredentials::Source(CredentialSource::File("/k".to_owned()))
        );
        assert!(
            read(r#""ambient""#)
                .unwrap_err()
                .to_string()
                .contains("use \"default\"")
        );
        let told = read("{}").unwrap_err().to_string();
        for source in [
            CredentialSource::Env(String::new()),
            CredentialSource::File(String::new()),
            CredentialSource::Command(Vec::new()),
            CredentialSource::Sealed(String::new()),
            CredentialSource::Credential(String::new()),
        ] {
            let written = serde_json::to_value(&source).unwrap();
            let name = written.as_object().unwrap().keys().next().unwrap();
            assert!(told.contains(name.as_str()), "{name}: {told}");
        }
    }

    #[test]
    fn nothing_is_open_that_is_not_named() {
        let grant: AwsGrant =
            serde_json::from_str(r#"{"regions":[],"credentials":"default"}"#).unwrap();
        let lists = [
            &grant.instance_types,
            &grant.images,
            &grant.subnets,
            &grant.security_groups,
            &grant.key_names,
        ];
        assert!(
            lists.iter().all(|list| list.is_empty())
                && grant.instance_profiles.is_empty()
                && grant.secrets.is_empty()
        );
        assert!(!grant.load_balancers && grant.instances == 20);
        assert!(
            serde_json::from_str::<AwsGrant>(r#"{"regions":[]}"#).is_err(),
            "credentials are named, never assumed"
        );
    }
}
