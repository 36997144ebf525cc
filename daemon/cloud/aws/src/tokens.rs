//! Names, tokens and tags: the host's choice, made of the attempt on whose behalf a plugin is called.

use tradewind_core::{
    capability::{Attempt, aws::RunRequest},
    names::{Digest, InstanceName},
    workload::Labels,
};

pub(crate) const INSTANCE: &str = "tradewind.dev/instance";
pub(crate) const ALLOCATION: &str = "tradewind.dev/allocation";
pub(crate) const REPLICA: &str = "tradewind.dev/replica";
pub(crate) const SPEC: &str = "tradewind.dev/spec";
pub(crate) const PORT: &str = "tradewind.dev/port";

/// What everything bears that is made for this attempt.
pub(crate) fn tags(owner: &InstanceName, attempt: &Attempt) -> Labels {
    let mut tags = attempt.tags.clone();
    tags.insert(INSTANCE.to_owned(), owner.as_str().to_owned());
    tags.insert(
        ALLOCATION.to_owned(),
        attempt.allocation.as_str().to_owned(),
    );
    tags
}

/// What an instance bears besides.
pub(crate) fn instance_tags(
    owner: &InstanceName,
    attempt: &Attempt,
    request: &RunRequest,
) -> Labels {
    let mut tags = tags(owner, attempt);
    tags.insert(REPLICA.to_owned(), request.replica.to_string());
    tags.insert(SPEC.to_owned(), request.spec.clone());
    tags
}

/// The token of one instance of one attempt with one set of parameters: EC2 refuses one that comes again with others, and answers one that
/// comes again after its instance has gone with the dead one. `user_data` is what is sent, secrets included: the digest tells nothing of it.
pub(crate) fn client_token(
    owner: &InstanceName,
    attempt: &Attempt,
    request: &RunRequest,
    user_data: &str,
) -> String {
    let parameters = RunRequest {
        user_data: Vec::new(),
        ..request.clone()
    };
    let parts: [&[u8]; 5] = [
        b"run-instances",
        owner.as_str().as_bytes(),
        attempt.token.as_bytes(),
        // The request has replica and ordinal in it, and its fields in a fixed order.
        &format!("{parameters:?}").into_bytes(),
        user_data.as_bytes(),
    ];
    Digest::of_parts(&parts).hex()
}

/// How the names of everything begin that belongs to a plugin instance. Names at Elastic Load Balancing have at most 32 characters.
pub(crate) fn prefix(owner: &InstanceName) -> String {
    format!("tw-{:.8}-", Digest::of(owner.as_str().as_bytes()).hex())
}

/// The name of an allocation's load balancer.
pub(crate) fn load_balancer(owner: &InstanceName, allocation: &str) -> String {
    format!(
        "{}{:.20}",
        prefix(owner),
        Digest::of_parts(&[b"load-balancer", allocation.as_bytes()]).hex()
    )
}

/// The name of the target group for a port of an allocation. What it checks and where is a part of it, so that a changed one is another.
pub(crate) fn target_group(owner: &InstanceName, allocation: &str, parameters: &str) -> String {
    format!(
        "{}{:.20}",
        prefix(owner),
        Digest::of_parts(&[
            b"target-group",
            allocation.as_bytes(),
            parameters.as_bytes()
        ])
        .hex()
    )
}

#[cfg(test)]
mod tests {
    use tradewind_core::{names::AllocationId, units::Bytes};

    use super::*;

    fn owner(name: &str) -> InstanceName {
        InstanceName::try_from(name.to_owned()).unwrap()
    }

    fn attempt(token: &str) -> Attempt {
        let allocation = AllocationId::try_from("a1".to_owned()).unwrap();
        Attempt {
            allocation,
            namespace: "default".parse().unwrap(),
            token: token.to_owned(),
            tags: Labels::from([("team".to_owned(), "x".to_owned())]),
            resources: Default::default(),
            startup: None,
        }
    }

    fn request() -> RunRequest {
        RunRequest {
            region: "us-east-1".into(),
            zone: String::new(),
            subnet: String::new(),
            instance_type: "t3.micro".into(),
            image: "ami-1".into(),
            security_groups: vec![],
            key_name: String::new(),
            instance_profile: String::new(),
            spot: false,
            ends_with_system: false,
            disk: Bytes(0),
            user_data: vec![],
            replica: 0,
            ordinal: 0,
            spec: "s".into(),
        }
    }

    #[test]
    fn a_token_is_the_same_for_the_same_effect_and_another_for_any_other() {
        let token = |owner_name: &str, of: &str, change: fn(&mut RunRequest), data: &str| {
            let mut request = request();
            change(&mut request);
            client_token(&owner(owner_name), &attempt(of), &request, data)
        };
        let first = token("aws", "a1-0", |_| {}, "d");
        assert_eq!(first, token("aws", "a1-0", |_| {}, "d"));
        assert!(first.len() <= 64 && first.is_ascii());
        let others = [
            token("other", "a1-0", |_| {}, "d"),
            token("aws", "a1-1", |_| {}, "d"),
            token("aws", "a1-0", |r| r.replica = 1, "d"),
            token("aws", "a1-0", |r| r.ordinal = 1, "d"),
            token("aws", "a1-0", |r| r.instance_type = "t3.small".into(), "d"),
            token("aws", "a1-0", |_| {}, "e"),
        ];
        assert!(others.iter().all(|other| *other != first));
    }

    #[test]
    fn a_plugin_can_not_override_the_hosts_tags_and_names_fit() {
        let mut attempt = attempt("t");
        attempt
            .tags
            .insert(INSTANCE.to_owned(), "forged".to_owned());
        let tags = instance_tags(&owner("aws"), &attempt, &request());
        assert_eq!(
            (
                tags[INSTANCE].as_str(),
                tags[ALLOCATION].as_str(),
                tags[REPLICA].as_str(),
                tags["team"].as_str()
            ),
            ("aws", "a1", "0", "x")
        );
        let names = [
            load_balancer(&owner("aws"), "a1"),
            target_group(&owner("aws"), "a1", "http"),
        ];
        assert!(
            names
                .iter()
                .all(|name| name.len() == 32 && name.starts_with(&prefix(&owner("aws")))),
            "{names:?}"
        );
        assert_ne!(
            load_balancer(&owner("aws"), "a1"),
            load_balancer(&owner("aws"), "a2")
        );
    }
}
