//! What the pods that an object would make may do to their node, and whose secrets they may use. Wherever in an object they are described.

use serde_json::{Map, Value};
use tradewind_core::{
    failure::Failure,
    grant::{Entry, KubernetesGrant},
};

use crate::check::refused;

/// Sources of volumes that reach nothing but the pod's own namespace and its node's scratch space.
const HARMLESS: [&str; 4] = ["emptyDir", "configMap", "downwardAPI", "persistentVolumeClaim"];
const CONTAINERS: [&str; 3] = ["containers", "initContainers", "ephemeralContainers"];

/// Checks every pod that an object describes.
///
/// # Errors
/// `denied`, with the field, for what the grant does not allow. `own` says which secrets are those of the allocation.
pub(crate) fn check(grant: &KubernetesGrant, object: &Value, own: &dyn Fn(&str) -> bool) -> Result<(), Failure> {
    walk(&Pods { grant, own }, object, "")
}

struct Pods<'a> {
    grant: &'a KubernetesGrant,
    own: &'a dyn Fn(&str) -> bool,
}

fn walk(pods: &Pods<'_>, value: &Value, at: &str) -> Result<(), Failure> {
    match value {
        Value::Object(fields) => {
            // Whatever has containers is a pod, in every kind that there is or may be.
            if CONTAINERS.iter().any(|list| fields.get(*list).is_some_and(Value::is_array)) {
                pods.spec(fields, at)?;
            }
            fields.iter().try_for_each(|(key, value)| walk(pods, value, &join(at, key)))
        }
        Value::Array(items) => items.iter().enumerate().try_for_each(|(i, value)| walk(pods, value, &format!("{at}[{i}]"))),
        _ => Ok(()),
    }
}

fn join(at: &str, key: &str) -> String {
    if at.is_empty() { key.to_owned() } else { format!("{at}.{key}") }
}

fn is_true(fields: &Map<String, Value>, key: &str) -> bool {
    // Anything but a plain no: the API server has its own ideas of what is true.
    fields.get(key).is_some_and(|value| !matches!(value, Value::Bool(false) | Value::Null))
}

fn list<'v>(fields: &'v Map<String, Value>, key: &str) -> impl Iterator<Item = (usize, &'v Map<String, Value>)> {
    fields.get(key).and_then(Value::as_array).into_iter().flatten().enumerate().filter_map(|(i, v)| v.as_object().map(|v| (i, v)))
}

impl Pods<'_> {
    fn spec(&self, spec: &Map<String, Value>, at: &str) -> Result<(), Failure> {
        let limit = |allowed: bool, key: &str, what: &str, line: &str| match allowed || !is_true(spec, key) {
            true => Ok(()),
            false => Err(refused(format!("pods with {what} ({key}: true) are not granted"), join(at, key), line)),
        };
        limit(self.grant.host_network, "hostNetwork", "the node's network", "host-network = true")?;
        limit(self.grant.privileged, "hostPID", "the node's processes", "privileged = true")?;
        limit(self.grant.privileged, "hostIPC", "the node's shared memory", "privileged = true")?;
        if let Some(context) = spec.get("securityContext").and_then(Value::as_object) {
            self.security(context, &join(at, "securityContext"))?;
        }
        for key in ["serviceAccountName", "serviceAccount"] {
            let Some(account) = spec.get(key).and_then(Value::as_str).filter(|a| !a.is_empty() && *a != "default") else { continue };
            if !self.grant.service_accounts.iter().any(|a| a == account) {
                let shown = account.escape_debug();
                let line = format!("\"{shown}\" to service-accounts, that is service-accounts = [\"{shown}\"],");
                return Err(refused(format!("the service account \"{shown}\" is not granted"), join(at, key), &line));
            }
        }
        if spec.get("automountServiceAccountToken") != Some(&Value::Bool(false)) && self.grant.service_accounts.is_empty() {
            let line = "service-accounts = [\"default\"]";
            let key = join(at, "automountServiceAccountToken");
            return Err(refused(
                "pods with a token of the API server are not granted: write automountServiceAccountToken: false",
                key,
                line,
            ));
        }
        for (i, volume) in list(spec, "volumes") {
            self.volume(volume, &format!("{}[{i}]", join(at, "volumes")))?;
        }
        for (i, secret) in list(spec, "imagePullSecrets") {
            self.secret(secret.get("name"), &format!("{}[{i}].name", join(at, "imagePullSecrets")))?;
        }
        for kind in CONTAINERS {
            for (i, container) in list(spec, kind) {
                self.container(container, &format!("{}[{i}]", join(at, kind)))?;
            }
        }
        Ok(())
    }

    fn container(&self, container: &Map<String, Value>, at: &str) -> Result<(), Failure> {
        if let Some(context) = container.get("securityContext").and_then(Value::as_object) {
            self.security(context, &join(at, "securityContext"))?;
        }
        for (i, port) in list(container, "ports") {
            let taken = port.get("hostPort").is_some_and(|p| !p.is_null() && p.as_i64() != Some(0));
            if taken && !self.grant.host_network {
                let at = format!("{}[{i}].hostPort", join(at, "ports"));
                return Err(refused("ports of the node are not granted", at, "host-network = true"));
            }
        }
        for (i, var) in list(container, "env") {
            if let Some(from) = var.get("valueFrom").and_then(|from| from.get("secretKeyRef")) {
                self.secret(from.get("name"), &format!("{}[{i}].valueFrom.secretKeyRef.name", join(at, "env")))?;
            }
        }
        for (i, from) in list(container, "envFrom") {
            if let Some(from) = from.get("secretRef") {
                self.secret(from.get("name"), &format!("{}[{i}].secretRef.name", join(at, "envFrom")))?;
            }
        }
        Ok(())
    }

    /// Of a pod or a container.
    fn security(&self, context: &Map<String, Value>, at: &str) -> Result<(), Failure> {
        if self.grant.privileged {
            return Ok(());
        }
        for key in ["privileged", "allowPrivilegeEscalation"] {
            if is_true(context, key) {
                return Err(refused(format!("containers with {key}: true are not granted"), join(at, key), "privileged = true"));
            }
        }
        let added = context.get("capabilities").and_then(|c| c.get("add")).is_some_and(|add| add.as_array().is_none_or(|a| !a.is_empty()));
        if added {
            return Err(refused("containers with more capabilities are not granted", join(at, "capabilities.add"), "privileged = true"));
        }
        let unconfined = |key: &str| {
            let told = context.get(key).and_then(|profile| profile.get("type")).and_then(Value::as_str);
            told.is_some_and(|kind| kind != "RuntimeDefault")
        };
        for key in ["seccompProfile", "appArmorProfile"] {
            if unconfined(key) {
                return Err(refused(format!("containers without the runtime's {key} are not granted"), join(at, key), "privileged = true"));
            }
        }
        for key in ["procMount", "seLinuxOptions", "sysctls", "windowsOptions"] {
            if context.get(key).is_some_and(|value| !value.is_null()) {
                return Err(refused(format!("containers with {key} are not granted"), join(at, key), "privileged = true"));
            }
        }
        Ok(())
    }

    fn volume(&self, volume: &Map<String, Value>, at: &str) -> Result<(), Failure> {
        for (source, value) in volume.iter().filter(|(key, value)| *key != "name" && !value.is_null()) {
            let at = join(at, source);
            match source.as_str() {
                harmless if HARMLESS.contains(&harmless) => {}
                "hostPath" => self.host_path(value.get("path"), &join(&at, "path"))?,
                "secret" => self.secret(value.get("secretName"), &join(&at, "secretName"))?,
                "projected" => {
                    let sources = value.get("sources").and_then(Value::as_array).into_iter().flatten();
                    for (i, one) in sources.enumerate() {
                        let at = format!("{at}.sources[{i}]");
                        for (kind, value) in one.as_object().into_iter().flatten() {
                            match kind.as_str() {
                                "configMap" | "downwardAPI" => {}
                                "secret" => self.secret(value.get("name"), &format!("{at}.secret.name"))?,
                                _ => return Err(foreign(kind, &join(&at, kind))),
                            }
                        }
                    }
                }
                other => return Err(foreign(other, &at)),
            }
        }
        Ok(())
    }

    fn host_path(&self, path: Option<&Value>, at: &str) -> Result<(), Failure> {
        let path = path.and_then(Value::as_str).unwrap_or_default();
        let plain = path.starts_with('/') && !path.split('/').any(|part| part == ".." || part == ".");
        let below = |folder: &Entry| {
            let folder = folder.trim_end_matches('/');
            path.strip_prefix(folder).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        };
        if plain && self.grant.host_paths.iter().any(below) {
            return Ok(());
        }
        let shown = path.escape_debug();
        let line = format!("\"{shown}\" to host-paths, that is host-paths = [\"{shown}\"],");
        Err(refused(format!("the node's path \"{shown}\" is not granted"), at, &line))
    }

    fn secret(&self, name: Option<&Value>, at: &str) -> Result<(), Failure> {
        let name = name.and_then(Value::as_str).unwrap_or_default();
        if (self.own)(name) || self.grant.cluster_secrets.iter().any(|s| s == name) {
            return Ok(());
        }
        let shown = name.escape_debug();
        let line = format!("\"{shown}\" to cluster-secrets, that is cluster-secrets = [\"{shown}\"],");
        Err(refused(format!("the cluster's secret \"{shown}\" is not this allocation's and not granted"), at, &line))
    }
}

fn foreign(source: &str, at: &str) -> Failure {
    let message = format!("volumes from \"{}\" can't be granted", source.escape_debug());
    Failure::not_granted(message, at).remedy("use a PersistentVolumeClaim")
}
