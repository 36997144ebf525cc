//! Names and labels. The host sets the labels; here they are only read and selected by.

use std::collections::BTreeMap;

pub(crate) const ALLOCATION: &str = "tradewind.dev/allocation";
pub(crate) const NAMESPACE: &str = "tradewind.dev/namespace";
pub(crate) const DEPLOYMENT: &str = "tradewind.dev/deployment";
pub(crate) const TASK: &str = "tradewind.dev/task";
/// Annotations of ours.
pub(crate) const TRAFFIC: &str = "tradewind.dev/traffic";
pub(crate) const CONTENT: &str = "tradewind.dev/content";
/// Well-known labels of nodes.
pub(crate) const REGION: &str = "topology.kubernetes.io/region";
pub(crate) const ZONE: &str = "topology.kubernetes.io/zone";
pub(crate) const SIZE: &str = "node.kubernetes.io/instance-type";

/// The longest name of a service.
const LONGEST: usize = 63;

/// A text of which a kubelet makes the given one: it reads `$$` as `$`, and `$(NAME)` as a variable's value, in commands and in variables.
pub(crate) fn literal(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text.chars().peekable();
    while let Some(one) = rest.next() {
        out.push(one);
        if one == '$' && matches!(rest.peek(), Some('$' | '(')) {
            out.push('$');
        }
    }
    out
}

pub(crate) fn job(allocation: &str, index: u32) -> String {
    format!("{allocation}-{index}")
}

/// The replica that a job is.
pub(crate) fn index(job: &str, allocation: &str) -> Option<u32> {
    job.strip_prefix(allocation)?
        .strip_prefix('-')?
        .parse()
        .ok()
}

pub(crate) fn public(allocation: &str) -> String {
    format!("{allocation}-public")
}

/// What the allocations of one task share in a mesh. Tasks of other namespaces have other names.
pub(crate) fn shared(namespace: &str, deployment: &str, task: &str) -> String {
    let full = match namespace {
        "default" => format!("{deployment}-{task}"),
        other => format!("{other}-{deployment}-{task}"),
    };
    // Two names that read the same once they are joined, or are cut, still differ.
    let print = fingerprint(&format!("{namespace}/{deployment}/{task}"));
    let short = print.get(..8).unwrap_or_default();
    let room = LONGEST - short.len() - 3;
    let head: String = full.chars().take(room).collect();
    format!("t-{}-{short}", head.trim_end_matches('-'))
}

/// The claim of a deployment's volume: readable as far as there is room, and never that of another deployment.
pub(crate) fn claim(namespace: &str, deployment: &str, volume: &str) -> String {
    let print = fingerprint(&format!("{namespace}/{deployment}/{volume}"));
    let plain = |c: char| {
        if c.is_ascii_lowercase() || c.is_ascii_digit() {
            c
        } else {
            '-'
        }
    };
    let head: String = format!("{deployment}-{}", volume.to_ascii_lowercase())
        .chars()
        .map(plain)
        .take(LONGEST - print.len() - 3)
        .collect();
    format!("v-{}-{print}", head.trim_matches('-'))
}

/// Whether a text can be the name of an object.
pub(crate) fn is_name(name: &str) -> bool {
    let plain = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit() || c == b'-';
    matches!(name.len(), 1..=LONGEST)
        && name.bytes().all(plain)
        && !name.starts_with('-')
        && !name.ends_with('-')
}

/// FNV-1a: the same on every machine and in every version, which the standard library's hashes don't promise.
pub(crate) fn fingerprint(text: &str) -> String {
    let hash = text.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    format!("{hash:016x}")
}

/// Labels as the cluster takes them: those of a user's that can't be labels become annotations.
pub(crate) fn sorted(
    labels: impl Iterator<Item = (String, String)>,
) -> (BTreeMap<String, String>, BTreeMap<String, String>) {
    labels.partition(|(key, value)| is_key(key) && is_value(value))
}

pub(crate) fn is_key(key: &str) -> bool {
    let (prefix, name) = key.split_once('/').unwrap_or(("x", key));
    let domain = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit() || b"-.".contains(&c);
    !name.is_empty()
        && is_value(name)
        && !prefix.is_empty()
        && prefix.len() <= 253
        && prefix.bytes().all(domain)
}

fn is_value(value: &str) -> bool {
    let ends = |c: Option<u8>| c.is_none_or(|c| c.is_ascii_alphanumeric());
    let mut bytes = value.bytes();
    value.len() <= LONGEST
        && value
            .bytes()
            .all(|c| c.is_ascii_alphanumeric() || b"-_.".contains(&c))
        && ends(bytes.next())
        && ends(value.bytes().last())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a kubelet makes of a text in which these variables are known: its `expand`, retold.
    fn expanded(text: &str, value: impl Fn(&str) -> Option<&'static str>) -> String {
        let (mut out, mut rest) = (String::new(), text);
        while let Some((before, after)) = rest.split_once('$') {
            out.push_str(before);
            rest = match (
                after.strip_prefix('$'),
                after.strip_prefix('(').and_then(|a| a.split_once(')')),
            ) {
                (Some(after), _) => {
                    out.push('$');
                    after
                }
                (None, Some((name, after))) => {
                    out.push_str(&value(name).map_or_else(|| format!("$({name})"), str::to_owned));
                    after
                }
                (None, None) => {
                    out.push('$');
                    after
                }
            };
        }
        out + rest
    }

    #[test]
    fn a_kubelet_hands_on_what_was_written() {
        let known = |name: &str| (name == "WHO").then_some("me");
        assert_eq!(expanded("$$ $(WHO) $(NO) $x", known), "$ me $(NO) $x");
        for text in [
            "",
            "$",
            "$$",
            "$$$",
            "$(WHO)",
            "$$(WHO)",
            "$$$(WHO)",
            "echo $$ $(WHO) $(date) $HOME ${x} $(",
            "a$$b$(WHO)c",
            "$($(WHO))",
        ] {
            assert_eq!(expanded(&literal(text), known), text);
        }
        assert_eq!(
            literal("exec httpd -p $PORT ${x}"),
            "exec httpd -p $PORT ${x}"
        );
    }

    #[test]
    fn claims_are_of_one_deployment_and_any_volume_has_one() {
        let (long, volume) = ("a".repeat(63), "V".repeat(128));
        let names = [
            claim("red", "shop", "data"),
            claim("blue", "shop", "data"),
            claim("red", "shop-data", "data"),
            claim("red", "shop", "Data"),
            claim("red", "shop", "a..b"),
            claim("red", "shop", "Web_Data"),
            claim(&long, &long, &volume),
            claim(&long, &long, &volume[1..]),
        ];
        for (i, name) in names.iter().enumerate() {
            assert!(is_name(name), "{name}");
            assert!(
                names.iter().skip(i + 1).all(|other| other != name),
                "{name}"
            );
        }
        assert!(names[0].starts_with("v-shop-data-"), "{}", names[0]);
    }

    #[test]
    fn shared_names_are_services_names_and_differ_by_task() {
        let long = "a".repeat(63);
        let names = [
            shared("default", "shop", "web"),
            shared("team", "shop", "web"),
            shared("default", "team-shop", "web"),
            shared(&long, &long, &long),
            shared(&long, &long, "web"),
        ];
        for (i, name) in names.iter().enumerate() {
            assert!(
                name.len() <= 63 && name.starts_with("t-") && is_value(name),
                "{name}"
            );
            assert!(
                names.iter().skip(i + 1).all(|other| other != name),
                "{name}"
            );
        }
        assert_eq!(
            (
                index("a-1-2", "a-1"),
                index("a-1", "a-1"),
                index("a-12-3", "a-1")
            ),
            (Some(2), None, None)
        );
    }
}
