//! From the file, the environment and the flags to one `Config`, and for every setting where its value came from.

use std::{
    collections::BTreeMap,
    fmt, io,
    path::{Path, PathBuf},
};

use etcetera::BaseStrategy;
use toml::{Table, Value};
use tradewind_core::{names::InstanceName, units::Millis};
use tradewind_credentials::owners::{self, Accepted, Kind};

use super::Config;

/// The configuration can't be used.
#[derive(Debug, thiserror::Error)]
#[allow(
    missing_docs,
    reason = "the messages say what the variants and their fields mean"
)]
pub enum Error {
    #[error("the configuration file \"{}\" can't be read", path.display())]
    Read { path: PathBuf, source: io::Error },
    #[error("the configuration file \"{}\" is not valid TOML at line {line}, column {column}: {message}", path.display())]
    Syntax {
        path: PathBuf,
        line: usize,
        column: usize,
        message: String,
    },
    #[error("{origin}: there is no setting \"{setting}\"{}", hint(suggestion.as_deref()))]
    Unknown {
        origin: Source,
        setting: String,
        suggestion: Option<String>,
    },
    #[error("{origin}: the setting \"{setting}\" can't be used: {message}")]
    Value {
        origin: Source,
        setting: String,
        message: String,
    },
    #[error("the setting \"{setting}\" can't be \"{value}\": {rule}")]
    Refused {
        setting: &'static str,
        value: String,
        rule: &'static str,
    },
    #[error("the setting \"log.level\" can't be \"{value}\"")]
    LogLevel {
        value: String,
        source: tracing_subscriber::filter::ParseError,
    },
    #[error("no home folder is known: set HOME, or name the folder with the setting \"data\"")]
    NoHome,
}

fn hint(suggestion: Option<&str>) -> String {
    suggestion
        .map(|s| format!(", did you mean \"{s}\""))
        .unwrap_or_default()
}

/// Where an effective value came from. Later ones win.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// Nobody set it.
    Default,
    /// The configuration file at this path.
    File(PathBuf),
    /// The environment variable of this name.
    Environment(&'static str),
    /// The command-line flag of this name, with its dashes.
    Flag(&'static str),
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.pad("default"),
            Self::File(path) => f.pad(&path.display().to_string()),
            Self::Environment(name) => f.pad(&format!("environment variable {name}")),
            Self::Flag(name) => f.pad(&format!("flag {name}")),
        }
    }
}

/// What the command line overrides.
#[derive(Debug, Clone, Default)]
pub struct Overrides {
    /// The configuration file, which must exist then. Without it: `TRADEWIND_CONFIG`, else the usual places.
    pub config: Option<PathBuf>,
    /// The setting `listen`.
    pub listen: Option<String>,
    /// The setting `data`.
    pub data: Option<PathBuf>,
    /// The setting `plugins`.
    pub plugins: Option<PathBuf>,
    /// The data folder may have been at another path.
    pub moved: bool,
    /// For the daemon itself, which must not do what strangers write. Clients do what their own user wants.
    pub is_daemon: bool,
}

/// The settings in force, and each one's source by its dotted name.
#[derive(Debug, Clone)]
pub struct Effective {
    /// The value of every setting.
    pub config: Config,
    /// Where each value came from, by the setting's dotted name, such as `controller.offers-ttl`.
    pub sources: BTreeMap<String, Source>,
}

/// Settings that an environment variable overrides, and its name.
pub const ENVIRONMENT: [(&str, &str); 8] = [
    ("listen", "TRADEWIND_LISTEN"),
    ("data", "TRADEWIND_DATA"),
    ("plugins", "TRADEWIND_PLUGINS"),
    ("secrets", "TRADEWIND_SECRETS"),
    (BUILTIN_POLICY, "TRADEWIND_BUILTIN_POLICY"),
    ("log.level", "TRADEWIND_LOG"),
    ("log.format", "TRADEWIND_LOG_FORMAT"),
    (owners::SETTING, TRUST),
];
const BUILTIN_POLICY: &str = "builtin-policy";
const TRUST: &str = "TRADEWIND_TRUST_ANY_OWNER";

/// What a package installs for the daemon of its machine. Clients whose user has no configuration find that daemon by it; a daemon reads it
/// only when it is named.
const SYSTEM: &str = "/etc/tradewind/config.toml";

/// The section whose keys are the operator's own.
const CREDENTIALS: &str = "credentials";

impl Effective {
    /// Reads the configuration. `env` looks an environment variable up.
    ///
    /// # Errors
    /// A file that was named but can't be read, bad syntax, unknown settings, values that can't be used.
    pub fn load(
        overrides: &Overrides,
        env: impl Fn(&str) -> Option<String>,
    ) -> Result<Self, Error> {
        let file = read_file(overrides, &env)?;
        let mut layers = Vec::new();
        let path = file.as_ref().and_then(|(source, _)| {
            if let Source::File(path) = source {
                Some(path.clone())
            } else {
                None
            }
        });
        layers.extend(file);
        for (setting, variable) in ENVIRONMENT {
            layers
                .extend(env(variable).map(|v| (Source::Environment(variable), nested(setting, v))));
        }
        let text = |p: &PathBuf| p.to_string_lossy().into_owned();
        let flags = [
            ("listen", "--listen", overrides.listen.clone()),
            ("data", "--data", overrides.data.as_ref().map(text)),
            ("plugins", "--plugins", overrides.plugins.as_ref().map(text)),
        ];
        layers.extend(
            flags.into_iter().filter_map(|(setting, flag, v)| {
                v.map(|v| (Source::Flag(flag), nested(setting, v)))
            }),
        );
        let mut effective = Self::from_layers(layers)?;
        effective.config.moved = overrides.moved;
        effective.config.file = path.and_then(|path| std::path::absolute(path).ok());
        Ok(effective)
    }

    fn from_layers(layers: Vec<(Source, Table)>) -> Result<Self, Error> {
        // The data folder comes first: other folders lie in it by default.
        let data = layers
            .iter()
            .rev()
            .find_map(|(_, t)| t.get("data").and_then(Value::as_str))
            .map(PathBuf::from);
        let data = match data {
            Some(data) => data,
            None => etcetera::choose_base_strategy()
                .map_err(|_| Error::NoHome)?
                .data_dir()
                .join("tradewind"),
        };
        let policy = InstanceName::try_from("cheapest".to_owned())
            .map_err(|e| unusable(&Source::Default, "policy", &e))?;
        let defaults = Config::defaults(data, policy);
        let mut merged =
            Table::try_from(&defaults).map_err(|e| unusable(&Source::Default, "", &e))?;
        let mut sources = BTreeMap::new();
        leaves(&merged, "", &mut |path, _| {
            drop(sources.insert(path.to_owned(), Source::Default))
        });
        for (source, layer) in layers {
            merge(&mut merged, layer, "", &source, &mut sources)?;
        }
        let mut config: Config =
            serde_path_to_error::deserialize(Value::Table(merged)).map_err(|e| {
                let setting = e.path().to_string();
                let origin = sources.get(&setting).cloned().unwrap_or(Source::Default);
                unusable(&origin, &setting, e.inner())
            })?;
        config.check()?;
        // Nothing may depend on the folder that a later part of the daemon happens to be in.
        for (setting, folder) in [
            ("data", &mut config.data),
            ("plugins", &mut config.plugins),
            ("secrets", &mut config.secrets),
            ("seal-key", &mut config.seal_key),
        ] {
            *folder = std::path::absolute(&*folder).map_err(|e| {
                unusable(
                    sources.get(setting).unwrap_or(&Source::Default),
                    setting,
                    &e,
                )
            })?;
        }
        for (setting, file) in [
            ("components", &mut config.components),
            ("tls.certificate", &mut config.tls.certificate),
            ("tls.key", &mut config.tls.key),
        ] {
            if !file.as_os_str().is_empty() {
                *file = std::path::absolute(&*file).map_err(|e| {
                    unusable(
                        sources.get(setting).unwrap_or(&Source::Default),
                        setting,
                        &e,
                    )
                })?;
            }
        }
        Ok(Self { config, sources })
    }

    /// Every setting: dotted name, effective value, source.
    ///
    /// # Errors
    /// None in practice: the value was read from a table.
    pub fn rows(&self) -> Result<Vec<(String, String, String)>, toml::ser::Error> {
        let table = Table::try_from(&self.config)?;
        let mut rows = Vec::new();
        leaves(&table, "", &mut |path, value| {
            let shown = value
                .as_str()
                .map_or_else(|| value.to_string(), str::to_owned);
            let source = self.sources.get(path).unwrap_or(&Source::Default);
            rows.push((path.to_owned(), shown, source.to_string()));
        });
        Ok(rows)
    }
}

/// The file that was named must be there; those at the usual places may be absent.
fn read_file(
    overrides: &Overrides,
    env: &impl Fn(&str) -> Option<String>,
) -> Result<Option<(Source, Table)>, Error> {
    let named = overrides
        .config
        .clone()
        .or_else(|| env("TRADEWIND_CONFIG").map(PathBuf::from));
    // Whether it is believed can't be said by itself.
    let anybody = !overrides.is_daemon || env(TRUST).as_deref() == Some("true");
    let read = |path: &Path| {
        let bytes = if anybody {
            std::fs::read(path)
        } else {
            owners::read(path, Kind::Trusted)
                .map_err(|error| owners::accepted(error, Accepted::ByVariable(TRUST)))
        };
        String::from_utf8(bytes?).map_err(io::Error::other)
    };
    let places = match &named {
        Some(path) => vec![path.clone()],
        None => usual_places(overrides, env),
    };
    for path in places {
        let text = match read(&path) {
            Ok(text) => text,
            Err(e) if named.is_none() && e.kind() == io::ErrorKind::NotFound => continue,
            // It is not for everybody then.
            Err(e) if path == Path::new(SYSTEM) && e.kind() == io::ErrorKind::PermissionDenied => {
                continue;
            }
            Err(source) => return Err(Error::Read { path, source }),
        };
        let table = parse(&text, &path)?;
        return Ok(Some((Source::File(path), table)));
    }
    Ok(None)
}

/// Where a configuration file may lie that nobody has named, the first to be used first. Who names a data folder means no daemon but that
/// folder's.
fn usual_places(overrides: &Overrides, env: &impl Fn(&str) -> Option<String>) -> Vec<PathBuf> {
    let of_user = etcetera::choose_base_strategy()
        .ok()
        .map(|s| s.config_dir().join("tradewind").join("config.toml"));
    let is_client_of_machine =
        !overrides.is_daemon && overrides.data.is_none() && env("TRADEWIND_DATA").is_none();
    of_user
        .into_iter()
        .chain(is_client_of_machine.then(|| SYSTEM.into()))
        .collect()
}

fn parse(text: &str, path: &Path) -> Result<Table, Error> {
    text.parse::<Table>().map_err(|e| {
        let before = e
            .span()
            .and_then(|s| text.get(..s.start))
            .unwrap_or_default();
        let line = before.matches('\n').count() + 1;
        let column = before
            .rsplit('\n')
            .next()
            .unwrap_or_default()
            .chars()
            .count()
            + 1;
        Error::Syntax {
            path: path.to_owned(),
            line,
            column,
            message: e.message().to_owned(),
        }
    })
}

/// `a.b` and a value as the table `{a = {b = value}}`.
fn nested(setting: &str, value: String) -> Table {
    let mut parts = setting.rsplit('.');
    let mut table = Table::new();
    let value = match value.as_str() {
        "true" | "false" if [owners::SETTING, BUILTIN_POLICY].contains(&setting) => {
            Value::Boolean(value == "true")
        }
        _ => Value::String(value),
    };
    table.insert(parts.next().unwrap_or(setting).to_owned(), value);
    parts.fold(table, |inner, part| {
        Table::from_iter([(part.to_owned(), Value::Table(inner))])
    })
}

fn joined(prefix: &str, key: &str) -> String {
    if prefix.is_empty() {
        key.to_owned()
    } else {
        format!("{prefix}.{key}")
    }
}

fn leaves(table: &Table, prefix: &str, visit: &mut impl FnMut(&str, &Value)) {
    for (key, value) in table {
        let path = joined(prefix, key);
        match value {
            Value::Table(inner) => leaves(inner, &path, visit),
            _ => visit(&path, value),
        }
    }
}

/// Lays `layer` over `base`, which has every setting that exists.
fn merge(
    base: &mut Table,
    layer: Table,
    prefix: &str,
    source: &Source,
    sources: &mut BTreeMap<String, Source>,
) -> Result<(), Error> {
    for (key, value) in layer {
        let path = joined(prefix, &key);
        let known: Vec<String> = base.keys().cloned().collect();
        // Its keys are names that the operator chooses.
        if prefix == CREDENTIALS {
            base.insert(key, value);
            sources.insert(path, source.clone());
            continue;
        }
        match (base.get_mut(&key), value) {
            (None, _) => {
                let near = known
                    .iter()
                    .map(|k| (strsim::damerau_levenshtein(k, &key), k))
                    .filter(|(d, _)| *d <= 3)
                    .min();
                let suggestion = near.map(|(_, k)| joined(prefix, k));
                return Err(Error::Unknown {
                    origin: source.clone(),
                    setting: path,
                    suggestion,
                });
            }
            (Some(Value::Table(inner)), Value::Table(layer)) => {
                merge(inner, layer, &path, source, sources)?
            }
            (Some(Value::Table(_)), _) => {
                return Err(unusable(
                    source,
                    &path,
                    &"it is a section: write its settings below a line with its name in brackets",
                ));
            }
            (Some(_), Value::Table(_)) => {
                return Err(unusable(source, &path, &"it is one value, not a section"));
            }
            (Some(slot), value) => {
                // Read as a person writes it: what is stored is read more generously.
                if let (Some(_), Some(text)) = (duration(slot), value.as_str()) {
                    text.parse::<Millis>()
                        .map_err(|e| unusable(source, &path, &e))?;
                }
                *slot = value;
                sources.insert(path, source.clone());
            }
        }
    }
    Ok(())
}

/// A setting that is a duration by default is one.
fn duration(value: &Value) -> Option<Millis> {
    value.as_str()?.parse().ok()
}

fn unusable(origin: &Source, setting: &str, message: &dyn fmt::Display) -> Error {
    Error::Value {
        origin: origin.clone(),
        setting: setting.to_owned(),
        message: message.to_string().trim_end().to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    fn load(text: &str, env: &[(&str, &str)], overrides: Overrides) -> Result<Effective, Error> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("config.toml");
        std::fs::write(&path, text).unwrap();
        let overrides = Overrides {
            config: Some(path),
            ..overrides
        };
        Effective::load(&overrides, |name| {
            env.iter()
                .find(|(n, _)| *n == name)
                .map(|(_, v)| (*v).to_owned())
        })
    }

    #[test]
    fn the_stronger_source_wins_and_is_named() {
        let flags = Overrides {
            data: Some("/d".into()),
            ..Default::default()
        };
        let env = [("TRADEWIND_LISTEN", "[::1]:9"), ("TRADEWIND_DATA", "/e")];
        let got = load(
            "listen = \"127.0.0.1:1\"\n[controller]\noffers-ttl = \"1m\"\n",
            &env,
            flags,
        )
        .unwrap();
        assert_eq!(got.config.listen.to_string(), "[::1]:9");
        assert_eq!(got.config.data, Path::new("/d"));
        assert_eq!(got.config.plugins, Path::new("/d/plugins"));
        assert_eq!(got.config.controller.offers_ttl, Millis::from_secs(60));
        let source = |name: &str| got.sources.get(name).cloned();
        assert_eq!(
            source("listen"),
            Some(Source::Environment("TRADEWIND_LISTEN"))
        );
        assert_eq!(source("data"), Some(Source::Flag("--data")));
        assert!(matches!(
            source("controller.offers-ttl"),
            Some(Source::File(_))
        ));
        assert_eq!(source("controller.observe-interval"), Some(Source::Default));
    }

    #[test]
    fn what_can_not_be_used_is_refused_by_name() {
        let cases = [
            (
                "[controller]\noffer-ttl = \"1s\"",
                "no setting \"controller.offer-ttl\", did you mean \"controller.offers-ttl\"",
            ),
            (
                "[tls]\ncertificate = \"/c.pem\"",
                "\"tls.key\" can't be \"\"",
            ),
            (
                "[tls]\nself-signed = true\ncertificate = \"/c.pem\"\nkey = \"/k.pem\"",
                "\"tls.self-signed\" can't be \"true\"",
            ),
            ("colour = 1", "no setting \"colour\""),
            (
                "[controller]\noffers-ttl = \"soon\"",
                "\"controller.offers-ttl\" can't be used: \"soon\" is not a duration",
            ),
            (
                "[controller]\noffers-ttl = \"30M\"",
                "\"controller.offers-ttl\" can't be used: \"30M\" is not a duration: write m for minutes",
            ),
            (
                "[plans]\nexpiry = \"1month\"",
                "\"plans.expiry\" can't be used: \"1month\" is not a duration: write days",
            ),
            ("[calls]\nslots = -1", "\"calls.slots\" can't be used"),
            ("[api]\nstreams = 0", "\"api.streams\" can't be \"0\""),
            (
                "controller = 3",
                "\"controller\" can't be used: it is a section",
            ),
            ("policy = \"No Such\"", "\"policy\" can't be used"),
            (
                "listen = \"127.0.0.1:1\"\nlisten = \"127.0.0.1:2\"",
                "not valid TOML at line 2, column 1",
            ),
            ("[log]\nlevel = \"a=b=c\"", "\"log.level\""),
        ];
        for (text, wanted) in cases {
            let message = load(text, &[], Overrides::default())
                .unwrap_err()
                .to_string();
            assert!(message.contains(wanted), "{text}: {message}");
        }
    }

    #[test]
    fn other_addresses_than_loopback_need_tls() {
        for bad in [
            "0.0.0.0:7180",
            "[::]:7180",
            "192.168.1.2:1",
            "[::ffff:10.0.0.1]:1",
        ] {
            let flags = Overrides {
                listen: Some(bad.to_owned()),
                ..Default::default()
            };
            let message = load("", &[], flags).unwrap_err().to_string();
            assert!(
                message.contains("\"listen\"")
                    && message.contains("loopback")
                    && message.contains(bad),
                "{message}"
            );
        }
        for tls in [
            "self-signed = true",
            "certificate = \"/c.pem\"\nkey = \"/k.pem\"",
        ] {
            let flags = Overrides {
                listen: Some("0.0.0.0:7180".to_owned()),
                ..Default::default()
            };
            assert!(load(&format!("[tls]\n{tls}"), &[], flags).is_ok(), "{tls}");
        }
        for good in ["127.0.0.1:0", "127.9.9.9:1", "[::1]:7180"] {
            let flags = Overrides {
                listen: Some(good.to_owned()),
                ..Default::default()
            };
            assert!(load("", &[], flags).is_ok(), "{good}");
        }
    }

    #[test]
    fn clients_alone_find_the_daemon_of_the_machine() {
        let daemon = Overrides {
            is_daemon: true,
            ..Default::default()
        };
        let elsewhere = Overrides {
            data: Some("/d".into()),
            ..Default::default()
        };
        let variable = |name: &str| (name == "TRADEWIND_DATA").then(|| "/d".to_owned());
        let last = |places: Vec<PathBuf>| places.last().is_some_and(|p| p == Path::new(SYSTEM));
        assert!(last(usual_places(&Overrides::default(), &|_| None)));
        assert!(!last(usual_places(&Overrides::default(), &variable)));
        for other in [daemon, elsewhere] {
            assert!(!last(usual_places(&other, &|_| None)));
        }
    }

    #[test]
    fn a_named_file_must_be_there() {
        let overrides = Overrides {
            config: Some("/nonexistent/tradewind.toml".into()),
            ..Default::default()
        };
        let error = Effective::load(&overrides, |_| None).unwrap_err();
        assert!(matches!(error, Error::Read { .. }), "{error}");
    }
}
