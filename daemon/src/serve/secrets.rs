//! What is told at the start of secrets that more namespaces may have than their owner may know. It never reads a value.

use std::{collections::BTreeSet, path::Path};

use tradewind_core::names::{InstanceName, Namespace};

/// Says in the log which secrets every namespace may have where there are several, and which folders mean two things.
pub(super) fn warn(folder: &Path, namespaces: &BTreeSet<Namespace>, plugins: &tradewind_wasm::Handle) {
    for (instance, secrets) in plugins.open_secrets() {
        if let Some(told) = open_to_all(namespaces, &secrets) {
            tracing::warn!(%instance, "{told}");
        }
        for name in ambiguous(namespaces, &secrets, |name| folder.join(name).is_dir()) {
            tell_ambiguous(&instance, name);
        }
    }
}

fn tell_ambiguous(instance: &InstanceName, name: &str) {
    tracing::warn!(
        %instance,
        "the folder \"{name}\" of the secrets folder is both a secret with keys, which is granted, and the secrets of namespace \"{name}\": \
         whoever may have the former reads the latter; rename the secret"
    );
}

fn open_to_all(namespaces: &BTreeSet<Namespace>, secrets: &[String]) -> Option<String> {
    if namespaces.len() < 2 || secrets.is_empty() {
        return None;
    }
    let names = |all: &mut dyn Iterator<Item = &str>| all.collect::<Vec<_>>().join(", ");
    Some(format!(
        "every namespace ({}) may have the secrets {}: say whose they are, as in secrets = [{{ name = \"…\", namespaces = [\"…\"] }}], or with \
         namespaces for the whole instance; what is for one alone may lie in NAMESPACE/NAME of the secrets folder",
        names(&mut namespaces.iter().map(Namespace::as_str)),
        names(&mut secrets.iter().map(String::as_str)),
    ))
}

/// Secrets that have the name of a namespace, and keys.
fn ambiguous<'a>(namespaces: &BTreeSet<Namespace>, secrets: &'a [String], is_folder: impl Fn(&str) -> bool) -> Vec<&'a str> {
    let is_namespace = |name: &&str| namespaces.iter().any(|n| n.as_str() == *name);
    secrets.iter().map(String::as_str).filter(|name| is_namespace(name) && is_folder(name)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(names: &[&str]) -> BTreeSet<Namespace> {
        names.iter().map(|n| n.parse().expect("a name")).collect()
    }

    #[test]
    fn several_namespaces_and_open_secrets_are_told_of() {
        let secrets = ["db".to_owned(), "shop".to_owned()];
        let told = open_to_all(&set(&["default", "shop"]), &secrets).expect("it is told");
        assert!(told.contains("(default, shop)") && told.contains("secrets db, shop"), "{told}");
        assert!(open_to_all(&set(&["default"]), &secrets).is_none() && open_to_all(&set(&["default", "shop"]), &[]).is_none());
        assert_eq!(ambiguous(&set(&["default", "shop"]), &secrets, |_| true), ["shop"]);
        assert!(ambiguous(&set(&["default", "shop"]), &secrets, |_| false).is_empty());
    }
}
