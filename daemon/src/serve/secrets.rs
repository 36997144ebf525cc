//! What is told at the start of secrets that more namespaces may have than their owner may know, or fewer than use them. It never reads a
//! value.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
};

use tradewind_core::{
    grant::{Entry, Spaces},
    names::Namespace,
};

/// By namespace, the secrets that its deployments use.
type Used = BTreeMap<Namespace, BTreeSet<String>>;

/// Says in the log which secrets every namespace may have where there are several, which a namespace uses that are for others, and which
/// folders mean two things.
pub(super) fn warn(
    folder: &Path,
    known: &BTreeSet<Namespace>,
    used: &Used,
    plugins: &tradewind_wasm::Handle,
) {
    let is_there = |path: &str| folder.join(path).symlink_metadata().is_ok();
    for (instance, spaces, secrets) in plugins.secrets() {
        if let Some(told) = open_to_all(known, &spaces, &secrets) {
            tracing::warn!(%instance, "{told}");
        }
        for told in not_shared(used, &spaces, &secrets, is_there) {
            tracing::warn!(%instance, "{told}");
        }
        for name in ambiguous(known, &secrets, |name| folder.join(name).is_dir()) {
            tracing::warn!(
                %instance,
                "the folder \"{name}\" of the secrets folder is both a secret with keys, which is granted, and the secrets of namespace \
                 \"{name}\": whoever may have the former reads the latter; rename the secret"
            );
        }
    }
}

fn open_to_all(known: &BTreeSet<Namespace>, spaces: &Spaces, secrets: &[Entry]) -> Option<String> {
    let open: BTreeSet<&str> = secrets
        .iter()
        .filter(|entry| entry.namespaces == Some(Spaces::All))
        .map(|entry| &**entry)
        .collect();
    if known.len() < 2 || !spaces.is_all() || open.is_empty() {
        return None;
    }
    Some(format!(
        "every namespace ({}) may have the secrets {}, for their entries say namespaces = [\"*\"]: name those that they are for",
        listed(known.iter().map(Namespace::as_str)),
        listed(open),
    ))
}

/// Of the common secrets, those that a namespace uses and does not read: their entries do not name it, and it has none of its own.
fn not_shared(
    used: &Used,
    spaces: &Spaces,
    secrets: &[Entry],
    is_there: impl Fn(&str) -> bool,
) -> Vec<String> {
    let told = used.iter().filter(|(namespace, _)| spaces.admits(namespace)).filter_map(|(namespace, used)| {
        let whom = Some(namespace);
        let misses = |name: &str| {
            let mut entries = secrets.iter().filter(|entry| *entry == name && entry.is_for(whom)).peekable();
            let granted = entries.peek().is_some() && !entries.any(|entry| entry.shares_common(whom));
            granted && is_there(name) && !is_there(&format!("{namespace}/{name}"))
        };
        let missed: Vec<&str> = used.iter().map(String::as_str).filter(|name| misses(name)).collect();
        (!missed.is_empty()).then(|| {
            format!(
                "namespace \"{namespace}\" uses the secrets {} and does not get what lies in the secrets folder itself: without namespaces an \
                 entry shares that with \"default\" alone; put its values into {namespace}/NAME, or grant the common ones: secrets = [{{ name = \
                 \"…\", namespaces = [\"{namespace}\"] }}]",
                listed(missed),
            )
        })
    });
    told.collect()
}

/// Secrets that have the name of a namespace, and keys.
fn ambiguous<'a>(
    known: &BTreeSet<Namespace>,
    secrets: &'a [Entry],
    is_folder: impl Fn(&str) -> bool,
) -> BTreeSet<&'a str> {
    let is_namespace = |name: &&str| known.iter().any(|n| n.as_str() == *name);
    secrets
        .iter()
        .map(|entry| &**entry)
        .filter(|name| is_namespace(name) && is_folder(name))
        .collect()
}

fn listed<'a>(names: impl IntoIterator<Item = &'a str>) -> String {
    names.into_iter().collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(names: &[&str]) -> BTreeSet<Namespace> {
        names.iter().map(|n| n.parse().expect("a name")).collect()
    }

    fn entries(text: &str) -> Vec<Entry> {
        serde_json::from_str(text).expect("entries")
    }

    #[test]
    fn secrets_that_every_one_of_several_namespaces_may_have_are_told_of() {
        let secrets = entries(
            r#"["own", {"name": "db", "namespaces": ["*"]}, {"name": "key", "namespaces": ["shop"]}]"#,
        );
        let told =
            open_to_all(&set(&["default", "shop"]), &Spaces::All, &secrets).expect("it is told");
        assert!(
            told.contains("(default, shop)") && told.contains("the secrets db, for"),
            "{told}"
        );
        let shop = Spaces::Only(vec!["shop".to_owned()]);
        for (known, spaces, secrets) in [
            (&["default"][..], &Spaces::All, &secrets),
            (&["default", "shop"], &shop, &secrets),
            (&["default", "shop"], &Spaces::All, &entries(r#"["own"]"#)),
        ] {
            assert_eq!(
                open_to_all(&set(known), spaces, secrets),
                None,
                "{known:?} {spaces} {secrets:?}"
            );
        }
    }

    #[test]
    fn common_secrets_that_a_namespace_uses_and_does_not_get_are_told_of() {
        let secrets =
            entries(r#"["db", "key", "gone", {"name": "shared", "namespaces": ["shop"]}]"#);
        let all = ["db", "key", "gone", "shared", "not-granted"].map(str::to_owned);
        let used: Used = set(&["default", "shop", "team"])
            .into_iter()
            .map(|name| (name, all.clone().into()))
            .collect();
        let there = |path: &str| {
            [
                "db",
                "key",
                "shared",
                "not-granted",
                "shop/key",
                "team/db",
                "team/key",
            ]
            .contains(&path)
        };
        let told = not_shared(&used, &Spaces::All, &secrets, there);
        assert_eq!(told.len(), 1, "{told:?}");
        assert!(
            told[0].starts_with("namespace \"shop\" uses the secrets db and"),
            "{told:?}"
        );
        assert!(
            not_shared(
                &used,
                &Spaces::Only(vec!["team".to_owned()]),
                &secrets,
                there
            )
            .is_empty(),
            "it is closed to shop"
        );
    }

    #[test]
    fn a_secret_with_keys_that_is_a_namespaces_folder_is_told_of() {
        let (known, secrets) = (
            set(&["default", "shop"]),
            entries(r#"["db", "shop", "shop"]"#),
        );
        assert_eq!(
            ambiguous(&known, &secrets, |_| true),
            BTreeSet::from(["shop"])
        );
        assert!(ambiguous(&known, &secrets, |_| false).is_empty());
    }
}
