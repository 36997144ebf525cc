//! The daemon's settings: one struct, its defaults, and where each effective value came from.
//! It knows TOML and the environment; it must not know what the settings are used for.
#![warn(missing_docs)]

mod admin_token;
mod certificate;
mod load;
pub mod runtime_file;
mod template;

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::PathBuf,
};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tradewind_core::{
    grant::{CredentialSource, RegistrySource},
    image::Reference,
    manifest::namespace::Approval,
    names::InstanceName,
    settings::{CompileBounds, PolicyFallback, StaleQuotes},
    units::{Bytes, Millis},
};

use url::{Host, Url};

pub use admin_token::{ADMIN_FILE, TokenFileError, read_secret};
pub use certificate::certificate_key;
pub use template::template;

pub use load::{ENVIRONMENT, Effective, Error, Overrides, Source};

/// Every setting, with its effective value. The keys are those of the configuration file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
#[allow(
    missing_docs,
    reason = "a field without a comment is a section: its type says what the section is for"
)]
pub struct Config {
    /// The address at which the API listens. An address other than loopback needs TLS. Port 0 lets
    /// the system choose a port.
    pub listen: SocketAddr,
    /// The daemon's own folder: state, output of processes, compiled plugins. Default: `tradewind`
    /// in `$XDG_DATA_HOME`, else in `~/.local/share`.
    pub data: PathBuf,
    /// The folder of the plugins and their instance files.
    pub plugins: PathBuf,
    /// The folder of further components, such as those that a package installs. An instance file
    /// may name one that the plugin folder lacks. The daemon sees a change in it after
    /// `reload.rescan`. Default: none.
    pub components: PathBuf,
    /// The folder of the secrets, one file each.
    pub secrets: PathBuf,
    /// Credentials by the names that instance files use. Each says where its value comes from:
    /// `{ env = "VARIABLE" }`, `{ file = "/absolute/path" }`,
    /// `{ command = ["program", "argument"] }`, or `{ sealed = "NAME" }` for a value that
    /// `tradewind credential seal` stored. The daemon reads a value when it uses it, so a rotated
    /// one needs no restart.
    pub credentials: BTreeMap<String, CredentialSource>,
    /// Registries that the daemon asks which image a tag names, before it makes the first replica.
    /// `host` is the part with which images begin (`docker.io` for images that name no registry).
    /// `source` says where a login, `user:password`, comes from. Without an entry, only engines and
    /// clusters tell what a tag named.
    pub registries: Vec<RegistrySource>,
    /// The file of the key that seals stored credentials. The daemon makes it at first use. Outside
    /// the data folder, a copy of that folder does not open what is sealed.
    pub seal_key: PathBuf,
    /// The policy instance that decides for deployments that name none.
    pub policy: InstanceName,
    /// With `true`, the policy that `policy` names decides without a file in the plugin folder,
    /// where the program has it built in. A file of that name takes its place.
    pub builtin_policy: bool,
    pub controller: Controller,
    pub calls: Calls,
    pub reload: Reload,
    pub compile: CompileBounds,
    pub plans: Plans,
    pub replacement: Replacement,
    pub keep: Keep,
    pub audit: Audit,
    pub api: Api,
    pub tls: Tls,
    pub log: Log,
    /// The data folder may have been at another path. No setting: only the command line says so, once.
    #[serde(skip)]
    pub moved: bool,
    /// The configuration file, where there is one.
    #[serde(skip)]
    pub file: Option<PathBuf>,
}

/// How the controller works.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Controller {
    /// How long the daemon uses offers before it asks the provider again.
    pub offers_ttl: Millis,
    /// How long a decision waits for a provider that has not answered. After it, the decision is
    /// made without that provider.
    pub offers_patience: Millis,
    /// The time between two observations of an allocation that is settled.
    pub observe_interval: Millis,
    /// The time between two observations of an allocation that starts or stops.
    pub observe_interval_changing: Millis,
    /// The time between two looks at the load of tasks with `scale`. A pushed measure is looked at
    /// when it arrives.
    pub scale_interval: Millis,
    /// The most provider calls that change something, at one time.
    pub concurrency: u32,
    /// Whether a task of a higher priority may take places of other namespaces. Each namespace
    /// chooses its priorities itself.
    pub preempt_across_namespaces: bool,
    /// The most provider calls that change something in one region of a provider, at one time.
    pub lane: u32,
    /// The time between two sweeps. A sweep looks for orphans: what runs at a provider without a
    /// record here.
    pub sweep_interval: Millis,
    /// How long after a restore no orphan is removed. The clouds may be ahead of the backup.
    pub sweep_grace: Millis,
    /// Who decides when a policy fails or its answer is refused.
    pub policy_fallback: PolicyFallback,
    /// How long a quote is valid, counted from the time at which its provider says that it was
    /// made.
    pub quote_ttl: Millis,
    /// What happens to offers with older quotes.
    pub stale_quotes: StaleQuotes,
}

/// Limits of all plugin calls together. An instance file has the limits of one call.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Calls {
    /// The most calls at one time, over all plugins. A call counts as often as its component has
    /// memories.
    pub slots: u32,
    /// How long a call waits for a slot before it is refused as busy.
    pub slot_wait: Millis,
    /// The most memory that an instance file may allow a call.
    pub memory_ceiling: Bytes,
}

/// How plugin files are watched and loaded.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Reload {
    /// How long files must stay unchanged before the daemon reads them. A quarter of it is enough
    /// when the last changed file was closed, renamed or removed.
    pub quiet: Millis,
    /// The time between two looks at the folder when the system reports no change.
    pub rescan: Millis,
    /// The largest component that the daemon reads.
    pub max_size: Bytes,
    /// With `true`, the daemon uses plugins, instance files, secrets, keys, kubeconfigs and
    /// credential files whoever owns them and whoever may write them. The environment variable
    /// holds for the configuration file as well.
    pub trust_any_owner: bool,
}

/// Stored plans.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Plans {
    /// Whether deployments change through approved plans only, in namespaces that do not say it
    /// themselves.
    pub approval: Approval,
    /// How long a plan can be applied. Its author may say otherwise.
    pub expiry: Millis,
    /// The most plans of one namespace. A plan that can't be applied any more makes room for
    /// others.
    pub most: u32,
}

/// Moves of replicas to places that cost less, for deployments and namespaces with `replacement`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Replacement {
    /// The time between two looks at the prices of what runs.
    pub interval: Millis,
    /// The most replicas of one namespace that move within an hour.
    pub max_moves: u32,
}

/// How much of the past the daemon keeps. Where a count and a size are given, the oldest go first
/// when one of the two is passed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Keep {
    /// The newest events that are kept, over all deployments.
    pub events: u32,
    /// The most room that events take. One event takes at most some 40 KiB.
    pub events_size: Bytes,
    /// Beyond `keep.events`, the newest events of each deployment, of each namespace outside its
    /// deployments, of each plugin and of the daemon.
    pub deployment_events: u32,
    /// The newest decisions that are kept, over all deployments.
    pub decisions: u32,
    /// The most room that decisions take.
    pub decisions_size: Bytes,
    /// Beyond `keep.decisions`, the newest decisions of each deployment. Decisions on which
    /// something still runs are always kept.
    pub deployment_decisions: u32,
    /// How long the exact inputs of decisions are kept, for replay and explain. Inputs of decisions
    /// on which something still runs stay as long as it runs.
    pub decision_inputs_age: Millis,
    /// The most room that inputs take, packed. Inputs of decisions on which something still runs
    /// are never removed for it.
    pub decision_inputs_size: Bytes,
    /// The revisions of each deployment. The current one and the last healthy one are always kept.
    pub revisions: u32,
    /// The entries of the audit log. An entry outlives the event that it was made of.
    pub audit: u32,
    /// How long entries of the audit log are kept however many there are. Nobody can push out
    /// entries by making new ones.
    pub audit_age: Millis,
    /// The most room that the audit log takes, whatever the age of its entries.
    pub audit_size: Bytes,
    /// The changes of the state from which followers can resume.
    pub changes: u32,
    /// The most room that changes take. Values above 4 KiB are not counted.
    pub changes_size: Bytes,
    /// The core dumps of plugins that trapped, in the folder `core-dumps` of the data folder. With
    /// 0, none is written.
    pub core_dumps: u32,
}

/// How heads of the audit log leave this machine. Whoever rewrites the whole log can't take back a
/// head that was sent before.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Audit {
    /// The time between two heads. A head is the number and the hash of the last entry. It goes
    /// into the daemon's log, and to `audit.webhook`; so it does at start and at the end.
    pub head_interval: Millis,
    /// The URL to which heads are sent with POST, as JSON (`seq`, `hash`, `installation`, `at`). It
    /// is `https`, or `http` to a loopback address. Empty: none. Whoever may read the settings sees
    /// it: put secrets into `audit.webhook-headers`.
    #[serde(with = "optional_url")]
    #[schemars(with = "String")]
    pub webhook: Option<Url>,
    /// A file with headers that go along, one a line, such as `Authorization: Bearer …`. Empty:
    /// none.
    pub webhook_headers: PathBuf,
}

/// A URL, or an empty text where there is none.
mod optional_url {
    use serde::{Deserialize, Deserializer, Serializer, de};
    use url::Url;

    pub(crate) fn serialize<S: Serializer>(url: &Option<Url>, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_str(url.as_ref().map_or("", Url::as_str))
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(d: D) -> Result<Option<Url>, D::Error> {
        let text = String::deserialize(d)?;
        if text.is_empty() {
            Ok(None)
        } else {
            text.parse().map(Some).map_err(de::Error::custom)
        }
    }
}

/// Limits of the HTTP API.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Api {
    /// The largest body of a request. At most 1Gi.
    pub max_body: Bytes,
    /// The largest manifest, as sent and as stored. An alias counts as often as it is used. At most
    /// `api.max-body`. A manifest that is stored already stays usable.
    pub max_manifest: Bytes,
    /// The longest time that reading a request's body may take.
    pub body_timeout: Millis,
    /// The most connections at one time. At most a quarter of the files that the daemon may open;
    /// at most half of the connections come from one address other than this machine's. When all
    /// are taken, a new one closes the one that has waited longest for its client.
    pub connections: u32,
    /// The longest time that the head of a request may take, and the TLS handshake before the first
    /// one.
    pub header_timeout: Millis,
    /// How long a connection without a request stays open.
    pub idle_timeout: Millis,
    /// How long a client may read nothing of an answer or a stream.
    pub write_timeout: Millis,
    /// The most requests that are worked on at one time. More wait, and are refused when they wait
    /// too long. One token gets at most an eighth of them. An eighth is reserved for admins of all
    /// namespaces.
    pub concurrent: u32,
    /// The most open event streams at one time; at most half of the connections. One token gets at
    /// most an eighth of them. An eighth is reserved for admins of all namespaces.
    pub streams: u32,
    /// Requests per second of one token, and of one address for requests that need no token.
    pub rate: u32,
    /// How many of the requests of `api.rate` may come at once.
    pub burst: u32,
    /// How long requests in progress may go on after the daemon was asked to stop.
    pub drain: Millis,
    /// Deployments that have metrics of their own, by namespace and name. The others are told
    /// together, as those of the deployment `(others)` in the namespace `(others)`.
    pub metric_deployments: u32,
    /// The role that may send components for shadow policies and replays. Canaries always take an
    /// admin of all namespaces.
    pub uploads: Uploads,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[allow(
    missing_docs,
    reason = "comments here would be part of the published schema of the settings"
)]
pub enum Uploads {
    Admin,
    Operator,
}

/// How the API proves who it is, and encrypts.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Tls {
    /// The file of the certificate and its issuers, in PEM form. The daemon reads it again when it
    /// changes. Empty: none.
    pub certificate: PathBuf,
    /// The file of the certificate's private key, in PEM form.
    pub key: PathBuf,
    /// With `true`, the daemon makes a key and a certificate at first start and keeps them in the
    /// data folder. Clients pin the key.
    pub self_signed: bool,
    /// Names and addresses in the self-made certificate, besides those of this machine and of
    /// `listen`.
    pub names: Vec<String>,
    /// How long a self-made certificate is valid: 1s to 3650days. The daemon makes a new one, with
    /// the same key, when a third of that is left.
    pub lifetime: Millis,
}

impl Tls {
    /// Whether the API speaks TLS: with a certificate of the operator's or with a self-made one.
    pub fn is_on(&self) -> bool {
        self.self_signed || !self.certificate.as_os_str().is_empty()
    }
}

/// The daemon's log, on standard error.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Log {
    /// A level (`error`, `warn`, `info`, `debug`, `trace`), or levels by module
    /// (`info,tradewind_wasm=debug`).
    pub level: String,
    /// The form of a line.
    pub format: LogFormat,
    /// A line for each request to the API, at the level `info`: method, path without its query,
    /// status, milliseconds, the name of the token, and the request's id. Probes and metrics are at
    /// `debug` in any case.
    pub requests: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[allow(
    missing_docs,
    reason = "comments here would be part of the published schema of the settings"
)]
pub enum LogFormat {
    Text,
    Json,
}

/// What is sent there is read by nobody on the way.
fn is_for_heads(url: &Url) -> bool {
    let on_this_machine = match url.host() {
        Some(Host::Ipv4(ip)) => ip.is_loopback(),
        Some(Host::Ipv6(ip)) => ip.is_loopback(),
        Some(Host::Domain(name)) => name == "localhost",
        None => false,
    };
    let plain = url.username().is_empty() && url.password().is_none();
    plain
        && (url.scheme() == "https" && url.has_host() || url.scheme() == "http" && on_this_machine)
}

/// The longest life of a certificate that is made.
const MOST_LIFETIME: Millis = Millis::from_secs(3650 * 24 * 3600);

/// The default address, where the command line looks for a daemon that left no other trace.
pub const DEFAULT_LISTEN: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 7180);

const LEAST_TO_COMPILE: Bytes = Bytes(128 << 20);

impl Config {
    /// The defaults, all in one place. `data` depends on the machine, so the caller brings it.
    pub fn defaults(data: PathBuf, policy: InstanceName) -> Self {
        Self {
            listen: DEFAULT_LISTEN,
            plugins: data.join("plugins"),
            components: PathBuf::new(),
            secrets: data.join("secrets"),
            seal_key: data.join("credentials.key"),
            data,
            credentials: BTreeMap::new(),
            registries: Vec::new(),
            policy,
            builtin_policy: true,
            controller: Controller {
                offers_ttl: Millis::from_secs(30),
                offers_patience: Millis::from_secs(2),
                observe_interval: Millis::from_secs(5),
                observe_interval_changing: Millis(100),
                scale_interval: Millis::from_secs(5),
                concurrency: 64,
                preempt_across_namespaces: false,
                lane: 16,
                sweep_interval: Millis::from_secs(300),
                sweep_grace: Millis::from_secs(3600),
                policy_fallback: PolicyFallback::Fail,
                quote_ttl: Millis::from_secs(24 * 3600),
                stale_quotes: StaleQuotes::Mark,
            },
            calls: Calls {
                slots: 128,
                slot_wait: Millis::from_secs(5),
                memory_ceiling: Bytes(512 << 20),
            },
            reload: Reload {
                quiet: Millis(100),
                rescan: Millis::from_secs(30),
                max_size: Bytes(64 << 20),
                trust_any_owner: false,
            },
            compile: CompileBounds::default(),
            keep: Keep {
                events: 10_000,
                events_size: Bytes(64 << 20),
                deployment_events: 50,
                decisions: 1_000,
                decisions_size: Bytes(64 << 20),
                deployment_decisions: 10,
                decision_inputs_age: Millis::from_secs(7 * 24 * 3600),
                decision_inputs_size: Bytes(256 << 20),
                revisions: 10,
                audit: 500_000,
                audit_age: Millis::from_secs(30 * 24 * 3600),
                audit_size: Bytes(1 << 30),
                changes: 10_000,
                changes_size: Bytes(64 << 20),
                core_dumps: 0,
            },
            audit: Audit {
                head_interval: Millis::from_secs(3600),
                webhook: None,
                webhook_headers: PathBuf::new(),
            },
            plans: Plans {
                approval: Approval::None,
                expiry: Millis::from_secs(24 * 3600),
                most: 100,
            },
            replacement: Replacement {
                interval: Millis::from_secs(60),
                max_moves: 20,
            },
            api: Api {
                max_body: Bytes(4 << 20),
                max_manifest: Bytes(512 << 10),
                body_timeout: Millis::from_secs(10),
                connections: 4096,
                header_timeout: Millis::from_secs(10),
                idle_timeout: Millis::from_secs(60),
                write_timeout: Millis::from_secs(30),
                concurrent: 512,
                streams: 256,
                rate: 5_000,
                burst: 10_000,
                drain: Millis::from_secs(10),
                metric_deployments: 1_000,
                uploads: Uploads::Admin,
            },
            tls: Tls {
                certificate: PathBuf::new(),
                key: PathBuf::new(),
                self_signed: false,
                names: Vec::new(),
                lifetime: Millis::from_secs(365 * 24 * 3600),
            },
            log: Log {
                level: "info".to_owned(),
                format: LogFormat::Text,
                requests: true,
            },
            moved: false,
            file: None,
        }
    }

    /// What no type can say.
    fn check(&self) -> Result<(), Error> {
        let refuse = |setting: &'static str, value: String, rule: &'static str| {
            Err(Error::Refused {
                setting,
                value,
                rule,
            })
        };
        let is_set = |path: &PathBuf| !path.as_os_str().is_empty();
        match (is_set(&self.tls.certificate), is_set(&self.tls.key)) {
            (true, false) => {
                return refuse(
                    "tls.key",
                    String::new(),
                    "name the file with the key of the certificate",
                );
            }
            (false, true) => {
                return refuse(
                    "tls.certificate",
                    String::new(),
                    "name the file with the certificate of the key",
                );
            }
            (true, true) if self.tls.self_signed => {
                return refuse(
                    "tls.self-signed",
                    "true".to_owned(),
                    "there is a certificate: leave out one of the two",
                );
            }
            _ => {}
        }
        if !self.listen.ip().is_loopback() && !self.tls.is_on() {
            let rule = "addresses other than loopback (127.0.0.1 or [::1]) need TLS: set tls.certificate and tls.key, or tls.self-signed = true";
            return refuse("listen", self.listen.to_string(), rule);
        }
        for (setting, path) in [
            ("data", &self.data),
            ("plugins", &self.plugins),
            ("secrets", &self.secrets),
            ("seal-key", &self.seal_key),
        ] {
            if path.as_os_str().is_empty() {
                return refuse(setting, String::new(), "name a folder");
            }
        }
        for (name, source) in &self.credentials {
            let rule = match source {
                CredentialSource::Credential(_) => {
                    "name its env, file, command or sealed, not another credential"
                }
                CredentialSource::File(path) if !path.starts_with('/') => {
                    "name its file by an absolute path"
                }
                CredentialSource::Command(words) if words.is_empty() => "name the program",
                _ => continue,
            };
            return refuse("credentials", name.clone(), rule);
        }
        if let Some(url) = &self.audit.webhook
            && !is_for_heads(url)
        {
            return refuse(
                "audit.webhook",
                url.to_string(),
                "use https, or http to a loopback address, without a user in it",
            );
        }
        for registry in &self.registries {
            if Reference::parse(&format!("{}/image", registry.host))
                .is_none_or(|image| image.registry != registry.host)
            {
                return refuse(
                    "registries",
                    registry.host.clone(),
                    "name the host as images begin with it: registry.example.com:5000",
                );
            }
        }
        for (setting, number) in [
            ("calls.slots", u64::from(self.calls.slots)),
            ("calls.memory-ceiling", self.calls.memory_ceiling.0),
            (
                "controller.concurrency",
                u64::from(self.controller.concurrency),
            ),
            ("controller.lane", u64::from(self.controller.lane)),
            (
                "controller.sweep-interval",
                self.controller.sweep_interval.0,
            ),
            ("controller.quote-ttl", self.controller.quote_ttl.0),
            (
                "controller.observe-interval",
                self.controller.observe_interval.0,
            ),
            (
                "controller.observe-interval-changing",
                self.controller.observe_interval_changing.0,
            ),
            (
                "controller.scale-interval",
                self.controller.scale_interval.0,
            ),
            ("reload.rescan", self.reload.rescan.0),
            ("reload.max-size", self.reload.max_size.0),
            ("compile.deadline", self.compile.deadline.0),
            ("compile.processor", self.compile.processor.0),
            ("compile.concurrent", u64::from(self.compile.concurrent)),
            ("plans.expiry", self.plans.expiry.0),
            ("replacement.interval", self.replacement.interval.0),
            (
                "replacement.max-moves",
                u64::from(self.replacement.max_moves),
            ),
            ("keep.events", u64::from(self.keep.events)),
            ("keep.decisions", u64::from(self.keep.decisions)),
            ("keep.revisions", u64::from(self.keep.revisions)),
            ("keep.audit", u64::from(self.keep.audit)),
            ("keep.audit-size", self.keep.audit_size.0),
            ("keep.events-size", self.keep.events_size.0),
            ("keep.decisions-size", self.keep.decisions_size.0),
            ("plans.most", u64::from(self.plans.most)),
            ("keep.changes", u64::from(self.keep.changes)),
            ("audit.head-interval", self.audit.head_interval.0),
            ("keep.changes-size", self.keep.changes_size.0),
            ("api.max-body", self.api.max_body.0),
            ("api.max-manifest", self.api.max_manifest.0),
            ("api.body-timeout", self.api.body_timeout.0),
            ("api.connections", u64::from(self.api.connections)),
            ("api.header-timeout", self.api.header_timeout.0),
            ("api.idle-timeout", self.api.idle_timeout.0),
            ("api.write-timeout", self.api.write_timeout.0),
            ("api.concurrent", u64::from(self.api.concurrent)),
            ("api.streams", u64::from(self.api.streams)),
            ("api.rate", u64::from(self.api.rate)),
            ("api.burst", u64::from(self.api.burst)),
        ] {
            if number == 0 {
                return refuse(setting, "0".to_owned(), "it must be above 0");
            }
        }
        if self.api.max_body.0 > 1 << 30 {
            return refuse("api.max-body", self.api.max_body.to_string(), "at most 1Gi");
        }
        if self.compile.memory < LEAST_TO_COMPILE {
            return refuse(
                "compile.memory",
                self.compile.memory.to_string(),
                "at least 128Mi: the compiler itself takes a part of it",
            );
        }
        if self.calls.slots > 4096 {
            return refuse(
                "calls.slots",
                self.calls.slots.to_string(),
                "at most 4096: address space is reserved for each",
            );
        }
        if !(1_000..=MOST_LIFETIME.0).contains(&self.tls.lifetime.0) {
            return refuse(
                "tls.lifetime",
                self.tls.lifetime.to_string(),
                "1s to 3650days",
            );
        }
        if let Err(e) = tracing_subscriber::EnvFilter::try_new(&self.log.level) {
            return Err(Error::LogLevel {
                value: self.log.level.clone(),
                source: e,
            });
        }
        Ok(())
    }
}

/// A variable of the environment; an empty one counts as absent.
pub fn environment(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|v| !v.is_empty())
}
