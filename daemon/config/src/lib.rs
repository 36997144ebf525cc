//! The daemon's settings: one struct, its defaults, and where each effective value came from.
//! It knows TOML and the environment; it must not know what the settings are used for.

mod admin_token;
mod certificate;
mod load;
pub mod runtime_file;

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
pub use load::{Effective, Error, Overrides, Source};

/// Every setting, with its effective value. The keys are those of the configuration file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Config {
    /// Where the API listens. Addresses other than loopback need TLS; port 0 lets the system choose.
    pub listen: SocketAddr,
    /// The daemon's own folder: state, output of processes, compiled plugins.
    pub data: PathBuf,
    /// Plugins and their instance files. Default: `plugins` in the data folder.
    pub plugins: PathBuf,
    /// A folder of further components, such as those that a package installs. An instance file may name one that the plugin folder does not
    /// have. The daemon sees a change in it after `reload.rescan`. Default: none.
    pub components: PathBuf,
    /// Secrets, one file each. Default: `secrets` in the data folder.
    pub secrets: PathBuf,
    /// Where credentials come from, by the names that instance files use: `{ env = "VARIABLE" }`, `{ file = "/absolute/path" }` or
    /// `{ command = ["program", "argument"] }`, or `{ sealed = "NAME" }` for what `tradewind credential seal` has stored. Values are read when they are used, so a rotated one needs no restart.
    pub credentials: BTreeMap<String, CredentialSource>,
    /// Registries that are asked which image a tag names before its first replica is made: `host` as images begin with it (`docker.io` for
    /// those that name none), and `source`, a value `user:password`, where it asks for a login. Default: none, and then only engines and
    /// clusters tell what a tag named.
    pub registries: Vec<RegistrySource>,
    /// The file with the key that stored credentials are sealed with; made when it is needed first. Default: `credentials.key` in the data
    /// folder. Elsewhere, copies of that folder keep what is sealed to themselves.
    pub seal_key: PathBuf,
    /// The policy instance that decides for deployments that name none.
    pub policy: InstanceName,
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
    /// How long offers are used before they are asked for again.
    pub offers_ttl: Millis,
    /// How long a decision waits for a provider that has not answered yet; then it is made without it.
    pub offers_patience: Millis,
    /// Between two looks at an allocation that is settled.
    pub observe_interval: Millis,
    /// Between two looks at an allocation that is starting or stopping.
    pub observe_interval_changing: Millis,
    /// Between two looks at the load of what follows it. Pushed measures are looked at when they come.
    pub scale_interval: Millis,
    /// The most provider calls that change something, at once.
    pub concurrency: u32,
    /// Whether a task of a higher priority takes places of other namespaces as well. Priorities are what each namespace makes of them,
    /// so the default is no.
    pub preempt_across_namespaces: bool,
    /// The most provider calls that change something in one region of a provider, at once.
    pub lane: u32,
    /// Between two looks for what runs at a provider without a record here.
    pub sweep_interval: Millis,
    /// How long after a state was put back from a backup nothing is removed for having no record: the clouds may be ahead of it.
    pub sweep_grace: Millis,
    /// Who decides when a policy fails or its answer is refused.
    pub policy_fallback: PolicyFallback,
    /// How long a provider's quote is good for, from when it says that it was made.
    pub quote_ttl: Millis,
    /// What happens to offers whose quotes are older.
    pub stale_quotes: StaleQuotes,
}

/// Limits of all plugin calls together. Those of one call are in its instance file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Calls {
    /// Calls at once, over all plugins, each counted by its component's memories.
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
    /// No change for so long before changed files are read; a quarter of it when the last file that changed was closed, renamed or removed.
    pub quiet: Millis,
    /// Between two looks at the folder when nothing is reported.
    pub rescan: Millis,
    /// The largest component that is read.
    pub max_size: Bytes,
    /// True: plugins, instance files, secrets, keys, kubeconfigs and credential files are used whoever owns them and whoever may change them.
    /// Also TRADEWIND_TRUST_ANY_OWNER=true, which holds for the configuration file as well.
    pub trust_any_owner: bool,
}

/// Stored plans.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Plans {
    /// Whether deployments of namespaces that do not say change through approved plans only: `none` or `required`.
    pub approval: Approval,
    /// How long a plan can be applied, unless its author says otherwise.
    pub expiry: Millis,
    /// The most of one namespace. Those that can't be applied any more make room for others.
    pub most: u32,
}

/// Moving what has opted in to where it costs less.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Replacement {
    /// Between two looks at the prices of what runs.
    pub interval: Millis,
    /// The most replicas of one namespace that move within an hour.
    pub max_moves: u32,
}

/// How much of the past is kept.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Keep {
    /// The last of all events.
    pub events: u32,
    /// The most that they take; the oldest go first. An event has at most some 40 KiB.
    pub events_size: Bytes,
    /// Beyond those, the last of each deployment, of what else belongs to a namespace, of each plugin and of the daemon.
    pub deployment_events: u32,
    /// The last of all decisions.
    pub decisions: u32,
    /// The most that they take; the oldest go first.
    pub decisions_size: Bytes,
    /// Beyond those, the last of each deployment. Those that something still runs on stay in any case.
    pub deployment_decisions: u32,
    /// How long the exact inputs of decisions are kept, for replay and explain. Those of decisions that something still runs on stay
    /// as long as that.
    pub decision_inputs_age: Millis,
    /// The most that they take, packed; the oldest go first, those that something still runs on never.
    pub decision_inputs_size: Bytes,
    /// Of each deployment. The current one and the last healthy one stay in any case.
    pub revisions: u32,
    /// Entries of the audit log. It outlives the events it is made of.
    pub audit: u32,
    /// However many there are, entries stay for so long: nobody pushes out what others did.
    pub audit_age: Millis,
    /// The most that they take, whatever their age.
    pub audit_size: Bytes,
    /// Changes of the state that followers can resume from.
    pub changes: u32,
    /// The most that they take; the oldest go first. Values of more than 4 KiB take nothing.
    pub changes_size: Bytes,
    /// Core dumps of plugins that trapped, in the folder `core-dumps` of the data folder, for those who write plugins. 0: none are written.
    pub core_dumps: u32,
}

/// How heads of the audit log leave this machine. Whoever may rewrite the whole log can't take back what was told before.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Audit {
    /// Number and hash of the last entry go into the daemon's log, and to `webhook`: at start, once in this time, and at the end.
    pub head_interval: Millis,
    /// Where they are sent as JSON (`seq`, `hash`, `installation`, `at`) with POST, by https or to this machine. Empty: nowhere.
    /// Whoever may read these settings sees it: what is secret belongs into `webhook-headers`.
    #[serde(with = "optional_url")]
    #[schemars(with = "String")]
    pub webhook: Option<Url>,
    /// A file with headers to send along, such as `Authorization: Bearer …`, one a line. Empty: none.
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
    /// The largest request body.
    pub max_body: Bytes,
    /// The largest manifest, as it is sent and as it is stored: aliases count as often as they are used. At most `api.max-body`. What is stored
    /// already stays usable.
    pub max_manifest: Bytes,
    /// The longest that reading a request's body may take.
    pub body_timeout: Millis,
    /// Connections at once; at most a quarter of the files that the daemon may have open, and half of them from one address that is not this
    /// machine's. When all are taken, the one that has waited longest for its client is closed for a new one.
    pub connections: u32,
    /// The longest that the head of a request may take, and the handshake before the first one.
    pub header_timeout: Millis,
    /// How long a connection is kept without a request.
    pub idle_timeout: Millis,
    /// How long a client may take nothing of an answer or of a stream.
    pub write_timeout: Millis,
    /// Requests worked on at once; more wait, and are refused when they wait too long. One token has at most an eighth of them, and an eighth
    /// is kept for admins of all namespaces.
    pub concurrent: u32,
    /// Open event streams at once; at most half of the connections. One token has at most an eighth of them, and an eighth is kept for admins
    /// of all namespaces.
    pub streams: u32,
    /// Requests per second of one token, and of one address for what needs no token.
    pub rate: u32,
    /// How many of them may come at once.
    pub burst: u32,
    /// How long requests in progress may go on after the daemon was told to stop.
    pub drain: Millis,
    /// Who may send components for shadow policies and replays: `admin`, or `operator` for both. Canaries take an admin of all namespaces in
    /// any case.
    pub uploads: Uploads,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Uploads {
    Admin,
    Operator,
}

/// How the API shows who it is, and keeps what is said to it to itself.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Tls {
    /// The certificate and what it was signed by, in PEM form. It is read again when it changes. Empty: none.
    pub certificate: PathBuf,
    /// Its private key, in PEM form.
    pub key: PathBuf,
    /// True: a key and a certificate are made at first start and kept in the data folder; clients pin the key.
    pub self_signed: bool,
    /// Names and addresses for the certificate that is made, besides those of this machine and of `listen`.
    pub names: Vec<String>,
    /// How long a certificate that is made is valid. It is made anew, with the same key, when a third of that is left.
    pub lifetime: Millis,
}

impl Tls {
    pub fn is_on(&self) -> bool {
        self.self_signed || !self.certificate.as_os_str().is_empty()
    }
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Log {
    /// A level (`error`, `warn`, `info`, `debug`, `trace`), or levels by module (`info,tradewind_wasm=debug`).
    pub level: String,
    pub format: LogFormat,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
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
