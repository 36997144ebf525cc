//! What an object and the pods that it would make may do to their node and their cluster, and whose secrets they may use. Wherever in an
//! object they are described. The bounds are those of the Pod Security Standard "baseline", and further ones where a grant says more.

use serde_json::{Map, Value};
use tradewind_core::{
    failure::Failure,
    grant::{KubernetesGrant, pattern},
};

use crate::check::refused;

/// Sources of volumes that reach nothing but the pod's own namespace and its node's scratch space.
const HARMLESS: [&str; 4] = [
    "emptyDir",
    "configMap",
    "downwardAPI",
    "persistentVolumeClaim",
];
const CONTAINERS: [&str; 3] = ["containers", "initContainers", "ephemeralContainers"];
const PROBES: [&str; 3] = ["livenessProbe", "readinessProbe", "startupProbe"];
const HOOKS: [&str; 2] = ["postStart", "preStop"];
/// Whoever may run as it needs no line for that: its token does.
const DEFAULT_ACCOUNT: &str = "default";
/// The host's own annotations begin so.
const OURS: &str = "tradewind.dev/";
/// By these annotations, of older clusters, a container goes without the runtime's protection.
const PROTECTIONS: [&str; 3] = [
    "container.apparmor.security.beta.kubernetes.io/",
    "container.seccomp.security.alpha.kubernetes.io/",
    "seccomp.security.alpha.kubernetes.io/",
];
const PROTECTED: [&str; 2] = ["runtime/default", "docker/default"];

/// Checks an object, and every pod that it describes.
///
/// # Errors
/// `denied`, with the field, for what the grant does not allow. `own` says which secrets are those of the allocation.
pub(crate) fn check(
    grant: &KubernetesGrant,
    object: &Value,
    own: &dyn Fn(&str) -> bool,
) -> Result<(), Failure> {
    let pods = Pods { grant, own };
    if object.get("kind").and_then(Value::as_str) == Some("Service") {
        pods.service(object.get("spec").and_then(Value::as_object))?;
    }
    walk(&pods, object, "")
}

struct Pods<'a> {
    grant: &'a KubernetesGrant,
    own: &'a dyn Fn(&str) -> bool,
}

fn walk(pods: &Pods<'_>, value: &Value, at: &str) -> Result<(), Failure> {
    match value {
        Value::Object(fields) => {
            // Whatever has containers is a pod, in every kind that there is or may be.
            if CONTAINERS
                .iter()
                .any(|list| fields.get(*list).is_some_and(Value::is_array))
            {
                pods.spec(fields, at)?;
            }
            if let Some(annotations) = fields
                .get("metadata")
                .and_then(|m| m.get("annotations"))
                .and_then(Value::as_object)
            {
                pods.annotations(annotations, &join(at, "metadata.annotations"))?;
            }
            fields
                .iter()
                .try_for_each(|(key, value)| walk(pods, value, &join(at, key)))
        }
        Value::Array(items) => items
            .iter()
            .enumerate()
            .try_for_each(|(i, value)| walk(pods, value, &format!("{at}[{i}]"))),
        _ => Ok(()),
    }
}

fn join(at: &str, key: &str) -> String {
    if at.is_empty() {
        key.to_owned()
    } else {
        format!("{at}.{key}")
    }
}

fn is_true(fields: &Map<String, Value>, key: &str) -> bool {
    // Anything but a plain no: the API server has its own ideas of what is true.
    fields
        .get(key)
        .is_some_and(|value| !matches!(value, Value::Bool(false) | Value::Null))
}

fn list<'v>(
    fields: &'v Map<String, Value>,
    key: &str,
) -> impl Iterator<Item = (usize, &'v Map<String, Value>)> {
    fields
        .get(key)
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .enumerate()
        .filter_map(|(i, v)| v.as_object().map(|v| (i, v)))
}

impl Pods<'_> {
    /// By annotations the add-ons of a cluster are told what to do: give a role of a cloud, join a network, put a container into a pod.
    fn annotations(&self, annotations: &Map<String, Value>, at: &str) -> Result<(), Failure> {
        for (key, value) in annotations {
            let shown = key.escape_debug();
            let protection = PROTECTIONS.iter().any(|prefix| key.starts_with(prefix));
            if protection
                && !self.grant.privileged
                && !value.as_str().is_some_and(|v| PROTECTED.contains(&v))
            {
                let message = "containers without the runtime's protection are not granted";
                return Err(refused(
                    message,
                    format!("{at}.{shown}"),
                    "privileged = true",
                ));
            }
            let is_free = !key.contains('/') || key.starts_with(OURS) || protection;
            if !is_free
                && !self
                    .grant
                    .annotations
                    .iter()
                    .any(|granted| pattern::matches(granted, key))
            {
                let line =
                    format!("\"{shown}\" to annotations, that is annotations = [\"{shown}\"],");
                return Err(refused(
                    format!("the annotation \"{shown}\" is not granted"),
                    format!("{at}.{shown}"),
                    &line,
                ));
            }
        }
        Ok(())
    }

    /// A service may not draw traffic of others to itself, nor lead who asks it elsewhere.
    fn service(&self, spec: Option<&Map<String, Value>>) -> Result<(), Failure> {
        let Some(spec) = spec.filter(|_| !self.grant.host_network) else {
            return Ok(());
        };
        for key in ["externalIPs", "externalName", "loadBalancerIP"] {
            let is_there = spec.get(key).is_some_and(|v| {
                !v.is_null() && v.as_array().is_none_or(|a| !a.is_empty()) && v != ""
            });
            if is_there {
                return Err(refused(
                    format!("services with {key} are not granted"),
                    format!("spec.{key}"),
                    "host-network = true",
                ));
            }
        }
        Ok(())
    }

    fn spec(&self, spec: &Map<String, Value>, at: &str) -> Result<(), Failure> {
        let limit = |allowed: bool, key: &str, what: &str, line: &str| match allowed
            || !is_true(spec, key)
        {
            true => Ok(()),
            false => Err(refused(
                format!("pods with {what} ({key}: true) are not granted"),
                join(at, key),
                line,
            )),
        };
        limit(
            self.grant.host_network,
            "hostNetwork",
            "the node's network",
            "host-network = true",
        )?;
        limit(
            self.grant.privileged,
            "hostPID",
            "the node's processes",
            "privileged = true",
        )?;
        limit(
            self.grant.privileged,
            "hostIPC",
            "the node's shared memory",
            "privileged = true",
        )?;
        if let Some(context) = spec.get("securityContext").and_then(Value::as_object) {
            self.security(context, &join(at, "securityContext"))?;
        }
        let is_granted = |account: &str| self.grant.service_accounts.iter().any(|a| a == account);
        let mut default = true;
        for key in ["serviceAccountName", "serviceAccount"] {
            let Some(account) = spec
                .get(key)
                .and_then(Value::as_str)
                .filter(|a| !a.is_empty() && *a != DEFAULT_ACCOUNT)
            else {
                continue;
            };
            default = false;
            if !is_granted(account) {
                let shown = account.escape_debug();
                let line = format!(
                    "\"{shown}\" to service-accounts, that is service-accounts = [\"{shown}\"],"
                );
                return Err(refused(
                    format!("the service account \"{shown}\" is not granted"),
                    join(at, key),
                    &line,
                ));
            }
        }
        if spec.get("automountServiceAccountToken") != Some(&Value::Bool(false))
            && default
            && !is_granted(DEFAULT_ACCOUNT)
        {
            let line = "service-accounts = [\"default\"]";
            let key = join(at, "automountServiceAccountToken");
            return Err(refused(
                "the default service account's token is not granted: write automountServiceAccountToken: false",
                key,
                line,
            ));
        }
        for (i, volume) in list(spec, "volumes") {
            self.volume(volume, &format!("{}[{i}]", join(at, "volumes")))?;
        }
        for (i, secret) in list(spec, "imagePullSecrets") {
            self.secret(
                secret.get("name"),
                &format!("{}[{i}].name", join(at, "imagePullSecrets")),
            )?;
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
            let taken = port
                .get("hostPort")
                .is_some_and(|p| !p.is_null() && p.as_i64() != Some(0));
            if taken && !self.grant.host_network {
                let at = format!("{}[{i}].hostPort", join(at, "ports"));
                return Err(refused(
                    "ports of the node are not granted",
                    at,
                    "host-network = true",
                ));
            }
        }
        let hooks = container.get("lifecycle");
        for (actions, keys, at) in [
            (Some(container), &PROBES[..], at.to_owned()),
            (
                hooks.and_then(Value::as_object),
                &HOOKS[..],
                join(at, "lifecycle"),
            ),
        ] {
            keys.iter().try_for_each(|key| {
                self.action(actions.and_then(|all| all.get(*key)), &join(&at, key))
            })?;
        }
        for (i, var) in list(container, "env") {
            if let Some(from) = var
                .get("valueFrom")
                .and_then(|from| from.get("secretKeyRef"))
            {
                self.secret(
                    from.get("name"),
                    &format!("{}[{i}].valueFrom.secretKeyRef.name", join(at, "env")),
                )?;
            }
        }
        for (i, from) in list(container, "envFrom") {
            if let Some(from) = from.get("secretRef") {
                self.secret(
                    from.get("name"),
                    &format!("{}[{i}].secretRef.name", join(at, "envFrom")),
                )?;
            }
        }
        Ok(())
    }

    /// What a node does to look at a container: from its own network, it could ask anybody.
    fn action(&self, action: Option<&Value>, at: &str) -> Result<(), Failure> {
        for way in ["httpGet", "tcpSocket"] {
            let host = action
                .and_then(|action| action.get(way))
                .and_then(|way| way.get("host"));
            if host.is_some_and(|host| !host.is_null() && host != "") && !self.grant.host_network {
                let message = "checks that the node makes of other hosts are not granted";
                return Err(refused(
                    message,
                    format!("{at}.{way}.host"),
                    "host-network = true",
                ));
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
                return Err(refused(
                    format!("containers with {key}: true are not granted"),
                    join(at, key),
                    "privileged = true",
                ));
            }
        }
        let added = context
            .get("capabilities")
            .and_then(|c| c.get("add"))
            .is_some_and(|add| add.as_array().is_none_or(|a| !a.is_empty()));
        if added {
            return Err(refused(
                "containers with more capabilities are not granted",
                join(at, "capabilities.add"),
                "privileged = true",
            ));
        }
        let unconfined = |key: &str| {
            let told = context
                .get(key)
                .and_then(|profile| profile.get("type"))
                .and_then(Value::as_str);
            told.is_some_and(|kind| kind != "RuntimeDefault")
        };
        for key in ["seccompProfile", "appArmorProfile"] {
            if unconfined(key) {
                return Err(refused(
                    format!("containers without the runtime's {key} are not granted"),
                    join(at, key),
                    "privileged = true",
                ));
            }
        }
        for key in ["procMount", "seLinuxOptions", "sysctls", "windowsOptions"] {
            if context.get(key).is_some_and(|value| !value.is_null()) {
                return Err(refused(
                    format!("containers with {key} are not granted"),
                    join(at, key),
                    "privileged = true",
                ));
            }
        }
        Ok(())
    }

    fn volume(&self, volume: &Map<String, Value>, at: &str) -> Result<(), Failure> {
        for (source, value) in volume
            .iter()
            .filter(|(key, value)| *key != "name" && !value.is_null())
        {
            let at = join(at, source);
            match source.as_str() {
                harmless if HARMLESS.contains(&harmless) => {}
                "hostPath" => self.host_path(value.get("path"), &join(&at, "path"))?,
                "secret" => self.secret(value.get("secretName"), &join(&at, "secretName"))?,
                "projected" => {
                    let sources = value
                        .get("sources")
                        .and_then(Value::as_array)
                        .into_iter()
                        .flatten();
                    for (i, one) in sources.enumerate() {
                        let at = format!("{at}.sources[{i}]");
                        for (kind, value) in one.as_object().into_iter().flatten() {
                            match kind.as_str() {
                                "configMap" | "downwardAPI" => {}
                                "secret" => {
                                    self.secret(value.get("name"), &format!("{at}.secret.name"))?
                                }
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
        let plain =
            path.starts_with('/') && !path.split('/').any(|part| part == ".." || part == ".");
        if plain && pattern::mounts(self.grant.host_paths.iter().map(|e| e.name.as_str()), path) {
            return Ok(());
        }
        let shown = path.escape_debug();
        let line = format!("\"{shown}\" to host-paths, that is host-paths = [\"{shown}\"],");
        Err(refused(
            format!("the node's path \"{shown}\" is not granted"),
            at,
            &line,
        ))
    }

    fn secret(&self, name: Option<&Value>, at: &str) -> Result<(), Failure> {
        let name = name.and_then(Value::as_str).unwrap_or_default();
        if (self.own)(name) || self.grant.cluster_secrets.iter().any(|s| s == name) {
            return Ok(());
        }
        let shown = name.escape_debug();
        let line =
            format!("\"{shown}\" to cluster-secrets, that is cluster-secrets = [\"{shown}\"],");
        Err(refused(
            format!("the cluster's secret \"{shown}\" is not this allocation's and not granted"),
            at,
            &line,
        ))
    }
}

fn foreign(source: &str, at: &str) -> Failure {
    let message = format!(
        "volumes from \"{}\" can't be granted",
        source.escape_debug()
    );
    Failure::not_granted(message, at).remedy("use a PersistentVolumeClaim")
}
