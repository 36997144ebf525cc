//! What a grant allows: every argument of a call is checked here before anything is sent. Pure.

use tradewind_core::{
    capability::aws::{LoadBalancerRequest, Piece, RunRequest},
    failure::Failure,
    grant::{AwsGrant, Entry, pattern},
};
use tradewind_credentials::secrets::{self, Granted};

/// What stands in a list for not naming one: AWS then takes its own default.
const DEFAULT: &str = "default";

pub(crate) fn region(grant: &AwsGrant, region: &str) -> Result<(), Failure> {
    // In full: the name becomes a part of the host that is called.
    if grant.regions.iter().any(|granted| granted == region) {
        Ok(())
    } else {
        Err(refused("region", "region", region, "regions"))
    }
}

/// Whether an instance type may be used. For lists that are narrowed instead of refused.
pub(crate) fn is_type(grant: &AwsGrant, name: &str) -> bool {
    grant
        .instance_types
        .iter()
        .any(|pattern| pattern::matches(pattern, name))
}

pub(crate) fn image(grant: &AwsGrant, id: &str, field: &str) -> Result<(), Failure> {
    listed(&grant.images, "images", "image", id, field)
}

pub(crate) fn run(grant: &AwsGrant, request: &RunRequest) -> Result<(), Failure> {
    region(grant, &request.region)?;
    listed(
        &grant.instance_types,
        "instance-types",
        "instance type",
        &request.instance_type,
        "instance-type",
    )?;
    image(grant, &request.image, "image")?;
    subnets(grant, std::slice::from_ref(&request.subnet))?;
    security_groups(grant, &request.security_groups)?;
    if !request.key_name.is_empty() {
        listed(
            &grant.key_names,
            "key-names",
            "key",
            &request.key_name,
            "key-name",
        )?;
    }
    if !request.instance_profile.is_empty() {
        let (list, profile) = (&grant.instance_profiles, &request.instance_profile);
        listed(
            list,
            "instance-profiles",
            "instance profile",
            profile,
            "instance-profile",
        )?;
    }
    let plain = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit() || c == b'-';
    if request.spec.len() > 64 || !request.spec.bytes().all(plain) {
        let message = format!(
            "\"{}\" does not tell a spec: use at most 64 of a-z, 0-9 and -",
            request.spec.escape_debug()
        );
        return Err(Failure::invalid(message).field("spec"));
    }
    request.user_data.iter().try_for_each(|piece| match piece {
        Piece::Text(_) => Ok(()),
        Piece::Secret(secret) | Piece::SecretVariable(secret) => {
            secrets::check(secrets_of(grant), secret, "user-data")
        }
    })
}

pub(crate) fn secrets_of(grant: &AwsGrant) -> Granted<'_> {
    Granted {
        capability: "aws",
        secrets: &grant.secrets,
        namespace: grant.namespace.as_ref(),
    }
}

/// Everything of the interface `elb` begins with this.
pub(crate) fn balancing(grant: &AwsGrant, in_region: &str) -> Result<(), Failure> {
    region(grant, in_region)?;
    if grant.load_balancers {
        return Ok(());
    }
    Err(
        Failure::not_granted("load balancers are not granted", "load-balancers")
            .remedy("add load-balancers = true to [grants.aws] of the instance file"),
    )
}

pub(crate) fn load_balancer(
    grant: &AwsGrant,
    request: &LoadBalancerRequest,
) -> Result<(), Failure> {
    balancing(grant, &request.region)?;
    if request.subnets.len() < 2 {
        return Err(Failure::invalid(
            "a load balancer needs at least two subnets, of different zones",
        )
        .field("subnets"));
    }
    subnets(grant, &request.subnets)?;
    security_groups(grant, &request.security_groups)
}

fn subnets(grant: &AwsGrant, subnets: &[String]) -> Result<(), Failure> {
    subnets.iter().try_for_each(|subnet| {
        listed(
            &grant.subnets,
            "subnets",
            "subnet",
            or_default(subnet),
            "subnet",
        )
    })
}

fn security_groups(grant: &AwsGrant, groups: &[String]) -> Result<(), Failure> {
    let none = [String::new()];
    let groups = if groups.is_empty() { &none } else { groups };
    let check = |group: &String| {
        listed(
            &grant.security_groups,
            "security-groups",
            "security group",
            or_default(group),
            "security-groups",
        )
    };
    groups.iter().try_for_each(check)
}

fn or_default(name: &str) -> &str {
    if name.is_empty() { DEFAULT } else { name }
}

fn listed(
    list: &[Entry],
    setting: &str,
    what: &str,
    value: &str,
    field: &str,
) -> Result<(), Failure> {
    if list.iter().any(|pattern| pattern::matches(pattern, value)) {
        Ok(())
    } else {
        Err(refused(field, what, value, setting))
    }
}

fn refused(field: &str, what: &str, value: &str, setting: &str) -> Failure {
    let shown = value.escape_debug();
    Failure::not_granted(format!("the {what} \"{shown}\" is not granted"), field).remedy(format!(
        "add \"{shown}\" to {setting} in [grants.aws] of the instance file"
    ))
}

#[cfg(test)]
mod tests {
    use tradewind_core::{failure::FailureKind, units::Bytes, workload::SecretRef};

    use super::*;

    fn grant() -> AwsGrant {
        let text = r#"{
            "regions": ["us-east-1"], "credentials": "default", "instance-types": ["t3.*"], "images": ["ami-1"],
            "subnets": ["subnet-a*"], "security-groups": ["sg-1"], "key-names": ["ops"], "instance-profiles": ["web"], "secrets": ["db"],
            "load-balancers": true
        }"#;
        serde_json::from_str(text).unwrap()
    }

    fn request() -> RunRequest {
        let text = str::to_owned;
        RunRequest {
            region: text("us-east-1"),
            zone: String::new(),
            subnet: text("subnet-a1"),
            instance_type: text("t3.micro"),
            image: text("ami-1"),
            security_groups: vec![text("sg-1")],
            key_name: text("ops"),
            instance_profile: text("web"),
            spot: false,
            ends_with_system: false,
            disk: Bytes(0),
            user_data: vec![Piece::Secret(SecretRef {
                name: text("db"),
                key: None,
            })],
            replica: 0,
            ordinal: 0,
            spec: text("0a"),
        }
    }

    #[test]
    fn each_argument_is_refused_by_its_name_with_the_line_that_would_grant_it() {
        run(&grant(), &request()).unwrap();
        type Change = fn(&mut RunRequest);
        let table: [(Change, &str, &str); 10] = [
            (
                |r| r.region = "us-east-1.evil.example".into(),
                "region",
                "\"us-east-1.evil.example\" to regions",
            ),
            (
                |r| r.instance_type = "p5.48xlarge".into(),
                "instance-type",
                "\"p5.48xlarge\" to instance-types",
            ),
            (
                |r| r.image = "ami-12".into(),
                "image",
                "\"ami-12\" to images",
            ),
            (
                |r| r.subnet = "subnet-b1".into(),
                "subnet",
                "\"subnet-b1\" to subnets",
            ),
            (|r| r.subnet.clear(), "subnet", "\"default\" to subnets"),
            (
                |r| r.security_groups.push("sg-2".into()),
                "security-groups",
                "\"sg-2\" to security-groups",
            ),
            (
                |r| r.security_groups.clear(),
                "security-groups",
                "\"default\" to security-groups",
            ),
            (
                |r| r.key_name = "other".into(),
                "key-name",
                "\"other\" to key-names",
            ),
            (
                |r| r.instance_profile = "admin".into(),
                "instance-profile",
                "\"admin\" to instance-profiles",
            ),
            (
                |r| {
                    r.user_data = vec![Piece::Secret(SecretRef {
                        name: "root".into(),
                        key: None,
                    })]
                },
                "user-data",
                "\"root\" to secrets",
            ),
        ];
        for (change, field, remedy) in table {
            let mut request = request();
            change(&mut request);
            let failure = run(&grant(), &request).unwrap_err();
            assert_eq!(
                (failure.kind, failure.field.as_deref()),
                (FailureKind::Denied, Some(field)),
                "{failure}"
            );
            assert!(failure.remedy.unwrap().contains(remedy), "{remedy}");
        }
        let mut odd = request();
        odd.spec = "a b".to_owned();
        assert_eq!(run(&grant(), &odd).unwrap_err().kind, FailureKind::Invalid);
    }

    #[test]
    fn what_is_for_one_namespace_is_refused_to_others() {
        let whole = serde_json::to_value(grant()).unwrap();
        for (list, field) in [
            ("instance-types", "instance-type"),
            ("images", "image"),
            ("subnets", "subnet"),
            ("security-groups", "security-groups"),
            ("key-names", "key-name"),
            ("instance-profiles", "instance-profile"),
            ("secrets", "user-data"),
        ] {
            let mut limited = whole.clone();
            limited[list] = serde_json::json!([{ "name": whole[list][0], "namespaces": ["shop"] }]);
            let limited: AwsGrant = serde_json::from_value(limited).unwrap();
            let asked = |namespace: Option<&str>| {
                let namespace = namespace.map(|n| n.parse().unwrap());
                run(&limited.for_namespace(namespace.as_ref()), &request())
            };
            asked(Some("shop")).unwrap();
            for other in [Some("team"), None] {
                assert_eq!(
                    asked(other).unwrap_err().field.as_deref(),
                    Some(field),
                    "{list} {other:?}"
                );
            }
        }
    }

    #[test]
    fn load_balancers_need_their_own_line_and_granted_subnets() {
        let wanted = |subnets: [&str; 2]| LoadBalancerRequest {
            region: "us-east-1".into(),
            internal: false,
            subnets: subnets.map(str::to_owned).to_vec(),
            security_groups: vec!["sg-1".into()],
        };
        load_balancer(&grant(), &wanted(["subnet-a1", "subnet-a2"])).unwrap();
        assert_eq!(
            load_balancer(&grant(), &wanted(["subnet-a1", "subnet-b2"]))
                .unwrap_err()
                .field
                .as_deref(),
            Some("subnet")
        );
        let without = AwsGrant {
            load_balancers: false,
            ..grant()
        };
        let failure = load_balancer(&without, &wanted(["subnet-a1", "subnet-a2"])).unwrap_err();
        assert_eq!(
            (failure.kind, failure.field.as_deref()),
            (FailureKind::Denied, Some("load-balancers"))
        );
    }
}
