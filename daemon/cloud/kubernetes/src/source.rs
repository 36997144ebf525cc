//! Where a grant says that the cluster is: the text of its kubeconfig, and the client's configuration that follows from it.
//! Nothing of a kubeconfig's contents gets into a message but names of contexts and programs.

use std::path::Path;

use kube::{
    Config,
    config::{KubeConfigOptions, Kubeconfig, KubeconfigError},
};
use tradewind_core::{failure::Failure, grant::KubernetesGrant};
use tradewind_credentials::{
    Credentials, Secret,
    owners::{self, Kind},
};

/// The kubeconfig's text; none: the daemon's own pod tells.
///
/// # Errors
/// `denied` when it can't be had.
pub(crate) async fn text(
    credentials: &Credentials,
    grant: &KubernetesGrant,
) -> Result<Option<Secret>, Failure> {
    let source = match (&grant.kubeconfig, &grant.credential) {
        (Some(path), _) => tradewind_core::grant::CredentialSource::File(path.clone()),
        (None, Some(source)) => source.clone(),
        (None, None) if grant.in_cluster => return Ok(None),
        (None, None) => {
            return Err(Failure::denied("the grant names no cluster").field("grants.kubernetes").code("no-cluster").remedy(
                "add kubeconfig = \"/absolute/path\" (or credential, or in-cluster = true) to [grants.kubernetes] of the instance file",
            ));
        }
    };
    credentials.text("kubeconfig", &source).await.map(Some)
}

/// What the client is made of.
///
/// # Errors
/// `denied` for what the grant does not allow and for what a kubeconfig lacks.
pub(crate) async fn config(
    text: Option<&Secret>,
    grant: &KubernetesGrant,
) -> Result<Config, Failure> {
    let mut config = match text {
        Some(text) => from_text(text, grant).await?,
        None => Config::incluster().map_err(|_| {
            Failure::denied("the daemon does not run in a pod with a service account")
                .field("grants.kubernetes.in-cluster")
                .remedy("run it in the cluster, or name a kubeconfig in [grants.kubernetes]")
        })?,
    };
    let timeout = Some(grant.timeout.std());
    (
        config.connect_timeout,
        config.read_timeout,
        config.write_timeout,
    ) = (timeout, None, timeout);
    // The controller decides what is tried again, and when.
    config.default_retry = false;
    // No client of the daemon takes a proxy from its environment.
    config.proxy_url = None;
    Ok(config)
}

async fn from_text(text: &Secret, grant: &KubernetesGrant) -> Result<Config, Failure> {
    let mut kubeconfig = Kubeconfig::from_yaml(text.expose())
        .map_err(|_| unreadable("it is not a kubeconfig in YAML"))?;
    let context = grant
        .context
        .clone()
        .or_else(|| kubeconfig.current_context.clone())
        .filter(|name| !name.is_empty());
    let Some(context) = context else {
        return Err(unreadable("it has no current context")
            .remedy("add context = \"NAME\" to [grants.kubernetes] of the instance file"));
    };
    let known = kubeconfig
        .contexts
        .iter()
        .find(|named| named.name == context)
        .and_then(|named| named.context.clone());
    let Some(known) = known else {
        let names: Vec<&str> = kubeconfig
            .contexts
            .iter()
            .map(|named| named.name.as_str())
            .collect();
        return Err(
            unreadable(&format!("it has no context \"{}\"", context.escape_debug()))
                .field("grants.kubernetes.context")
                .remedy(format!("it has these: {}", names.join(", "))),
        );
    };
    let cluster = kubeconfig
        .clusters
        .iter()
        .find(|named| named.name == known.cluster)
        .and_then(|named| named.cluster.as_ref());
    if cluster
        .and_then(|cluster| cluster.proxy_url.as_ref())
        .is_some_and(|proxy| !proxy.is_empty())
    {
        return Err(unreadable("the cluster of its context names a proxy-url, and the daemon uses no proxy")
            .remedy("remove proxy-url from the kubeconfig, and give the cluster a server address that the daemon reaches by itself"));
    }
    // A client that is told no proxy takes the environment's. This one is told one, which `config` takes from it again.
    for cluster in kubeconfig
        .clusters
        .iter_mut()
        .filter_map(|named| named.cluster.as_mut())
    {
        cluster.proxy_url = Some("http://none.invalid".to_owned());
    }
    let user = known.user.clone().unwrap_or_default();
    let auth = kubeconfig
        .auth_infos
        .iter()
        .find(|named| named.name == user)
        .and_then(|named| named.auth_info.as_ref());
    let program = auth.and_then(|auth| {
        let exec = auth
            .exec
            .as_ref()
            .map(|exec| exec.command.clone().unwrap_or_default());
        exec.or_else(|| {
            auth.auth_provider
                .as_ref()
                .and_then(|provider| provider.config.get("cmd-path").cloned())
        })
    });
    if let Some(program) = program.filter(|_| !grant.exec) {
        let message = format!(
            "the context \"{context}\" runs the program \"{}\" for its credentials",
            program.escape_debug()
        );
        return Err(Failure::not_granted(message, "grants.kubernetes.exec")
            .remedy("add exec = true to [grants.kubernetes] of the instance file"));
    }
    if let Some(folder) = grant
        .kubeconfig
        .as_deref()
        .and_then(|path| Path::new(path).parent())
    {
        resolve(&mut kubeconfig, folder);
    }
    believed(&kubeconfig).map_err(|why| unreadable(&why))?;
    let options = KubeConfigOptions {
        context: Some(context.clone()),
        ..KubeConfigOptions::default()
    };
    Config::from_custom_kubeconfig(kubeconfig, &options)
        .await
        .map_err(|error| unreadable(reason(&error)))
}

/// Paths in a kubeconfig are relative to its folder.
fn resolve(kubeconfig: &mut Kubeconfig, folder: &Path) {
    let absolute = |path: &mut Option<String>| {
        if let Some(path) = path.as_mut().filter(|path| Path::new(path).is_relative()) {
            *path = folder.join(&*path).to_string_lossy().into_owned();
        }
    };
    for cluster in kubeconfig
        .clusters
        .iter_mut()
        .filter_map(|named| named.cluster.as_mut())
    {
        absolute(&mut cluster.certificate_authority);
    }
    for auth in kubeconfig
        .auth_infos
        .iter_mut()
        .filter_map(|named| named.auth_info.as_mut())
    {
        absolute(&mut auth.client_certificate);
        absolute(&mut auth.client_key);
        absolute(&mut auth.token_file);
        // A bare name is looked up in the daemon's PATH.
        if let Some(exec) = auth.exec.as_mut().filter(|exec| {
            exec.command
                .as_deref()
                .is_some_and(|command| command.contains('/'))
        }) {
            absolute(&mut exec.command);
        }
    }
}

/// The files that a kubeconfig names are believed as it is itself.
fn believed(kubeconfig: &Kubeconfig) -> Result<(), String> {
    let clusters = kubeconfig
        .clusters
        .iter()
        .filter_map(|named| named.cluster.as_ref());
    let users: Vec<_> = kubeconfig
        .auth_infos
        .iter()
        .filter_map(|named| named.auth_info.as_ref())
        .collect();
    let trusted = clusters
        .filter_map(|c| c.certificate_authority.as_ref())
        .chain(users.iter().filter_map(|u| u.client_certificate.as_ref()));
    let secret = users
        .iter()
        .flat_map(|u| u.client_key.iter().chain(&u.token_file));
    for (path, kind) in trusted
        .map(|path| (path, Kind::Trusted))
        .chain(secret.map(|path| (path, Kind::Secret)))
    {
        // What can't be read is told by who needs it.
        if let Err(error) = owners::open(Path::new(path), kind)
            && let Some(untrusted) = owners::untrusted(&error)
        {
            return Err(format!("it names a file that is not used: {untrusted}"));
        }
    }
    Ok(())
}

fn reason(error: &KubeconfigError) -> &'static str {
    match error {
        KubeconfigError::MissingClusterUrl | KubeconfigError::ParseClusterUrl(_) => {
            "its cluster has no usable server address"
        }
        KubeconfigError::LoadClusterOfContext(_) => "it has no such cluster as its context names",
        _ => "its certificates or keys can't be loaded",
    }
}

fn unreadable(reason: &str) -> Failure {
    Failure::denied(format!("the kubeconfig can't be used: {reason}"))
        .field("grants.kubernetes.kubeconfig")
        .code("kubeconfig")
}
