//! The import audit: what a component exports tells its kind, what it imports must be granted. Nothing unknown is ever stubbed.

use semver::Version;
use tradewind_core::{grant::FREE, names::InstanceName, plugin::Kind};

use super::instance_file::InstanceFile;
use crate::runtime::{clouds, v0_1};

/// Why a component's imports or exports are refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[allow(
    missing_docs,
    reason = "the messages say what the variants and their fields mean"
)]
pub enum Error {
    #[error(
        "it is no plugin of contract {}: it exports {exports}, a plugin exports \"tradewind:plugin/cloud-provider@{}\" or \"tradewind:plugin/scheduling-policy@{}\"",
        v0_1::VERSION,
        v0_1::VERSION,
        v0_1::VERSION
    )]
    WrongWorld { exports: String },
    #[error(
        "it imports \"{import}\", which {instance}.toml does not grant; to grant it, add:\n{grant}"
    )]
    Ungranted {
        import: String,
        instance: InstanceName,
        grant: &'static str,
    },
    #[error(
        "it imports \"{import}\", which takes a grant, and it has no instance file; to grant it, make {instance}.toml beside it:\ncomponent = \"{component}\"\n{grant}"
    )]
    NoFile {
        import: String,
        instance: InstanceName,
        component: String,
        grant: &'static str,
    },
    #[error(
        "it imports \"{import}\", which this daemon was built without: use a build with the feature \"{feature}\""
    )]
    Absent {
        import: String,
        feature: &'static str,
    },
    #[error("it imports \"{import}\", which no policy may use: decisions must replay")]
    PolicyImport { import: String },
    #[error("it imports \"{import}\", which this daemon does not offer")]
    Unknown { import: String },
}

/// What was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Audit {
    pub(crate) kind: Kind,
    pub(crate) wasi: bool,
}

pub(crate) fn kind(exports: &[String]) -> Result<Kind, Error> {
    let has = |name: &str| {
        exports
            .iter()
            .any(|e| *e == format!("{}{name}@{}", v0_1::PACKAGE, v0_1::VERSION))
    };
    match (has(v0_1::PROVIDER), has(v0_1::POLICY)) {
        (true, false) => Ok(Kind::Provider),
        (false, true) => Ok(Kind::Policy),
        _ => {
            let list = exports
                .iter()
                .take(8)
                .map(|e| format!("\"{e}\""))
                .collect::<Vec<_>>()
                .join(", ");
            Err(Error::WrongWorld {
                exports: if list.is_empty() {
                    "nothing".to_owned()
                } else {
                    list
                },
            })
        }
    }
}

/// `absent`: capabilities that this build does not have.
///
/// # Errors
/// For the first import that is not granted, not known or absent, and for a component of another world.
pub(crate) fn audit(
    imports: &[String],
    exports: &[String],
    instance: &InstanceName,
    file: &InstanceFile,
    absent: &[&str],
) -> Result<Audit, Error> {
    let grants = &file.grants;
    let kind = kind(exports)?;
    let mut wasi = false;
    for import in imports {
        let ours = import
            .strip_prefix(v0_1::PACKAGE)
            .and_then(|rest| rest.strip_suffix(v0_1::VERSION)?.strip_suffix('@'));
        let granted = match ours {
            Some("types") => true,
            Some("clock" | "process" | "http") if kind == Kind::Policy => {
                return Err(Error::PolicyImport {
                    import: import.clone(),
                });
            }
            Some(free) if FREE.contains(&free) => true,
            Some("process") => grants.process.is_some(),
            Some("http") => grants.http.is_some(),
            Some(_) => {
                return Err(Error::Unknown {
                    import: import.clone(),
                });
            }
            None if let Some(capability) = clouds::of(import) => {
                if kind == Kind::Policy {
                    return Err(Error::PolicyImport {
                        import: import.clone(),
                    });
                }
                if absent.contains(&capability.name) {
                    return Err(Error::Absent {
                        import: import.clone(),
                        feature: capability.name,
                    });
                }
                (capability.granted)(grants)
            }
            None if is_wasi_0_2(import) => {
                wasi = true;
                true
            }
            None => {
                return Err(Error::Unknown {
                    import: import.clone(),
                });
            }
        };
        if !granted {
            let grant = grantable().find(|(name, _)| {
                Some(*name) == ours || Some(*name) == clouds::of(import).map(|c| c.name)
            });
            let grant = grant.map_or("", |(_, grant)| grant);
            let (import, instance) = (import.clone(), instance.clone());
            return Err(if file.written {
                Error::Ungranted {
                    import,
                    instance,
                    grant,
                }
            } else {
                Error::NoFile {
                    import,
                    instance,
                    component: file.component.clone(),
                    grant,
                }
            });
        }
    }
    Ok(Audit { kind, wasi })
}

/// Which capability an import is, by the name of its grant; none for what every plugin has, and for WASI.
pub(crate) fn capability(import: &str) -> Option<&str> {
    let ours = import
        .strip_prefix(v0_1::PACKAGE)
        .and_then(|rest| rest.strip_suffix(v0_1::VERSION)?.strip_suffix('@'));
    ours.filter(|name| !matches!(*name, "types" | "log"))
        .or_else(|| clouds::of(import).map(|c| c.name))
}

/// The capabilities that need a grant, and how a grant for each is written.
fn grantable() -> impl Iterator<Item = (&'static str, &'static str)> {
    v0_1::GRANTABLE
        .into_iter()
        .chain(clouds::ALL.into_iter().map(|c| (c.name, c.grant)))
}

/// Interfaces that the empty WASI answers; `wasi:http` and others it has not.
fn is_wasi_0_2(import: &str) -> bool {
    let Some((name, version)) = import.split_once('@') else {
        return false;
    };
    let package = name.split_once('/').map_or(name, |(package, _)| package);
    let known = [
        "wasi:io",
        "wasi:cli",
        "wasi:clocks",
        "wasi:random",
        "wasi:filesystem",
        "wasi:sockets",
    ];
    known.contains(&package) && Version::parse(version).is_ok_and(|v| (v.major, v.minor) == (0, 2))
}

#[cfg(test)]
mod tests {
    use tradewind_core::grant::Grants;

    use super::*;

    fn written(grants: Grants) -> InstanceFile {
        InstanceFile {
            grants,
            written: true,
            ..InstanceFile::bare("a.wasm")
        }
    }

    fn run(imports: &[&str], export: &str, grants: &Grants) -> Result<Audit, Error> {
        let imports: Vec<String> = imports.iter().map(|s| (*s).to_owned()).collect();
        audit(
            &imports,
            &[export.to_owned()],
            &"x".parse().unwrap(),
            &written(grants.clone()),
            &[],
        )
    }

    #[test]
    fn without_an_instance_file_the_whole_of_it_is_shown() {
        let imports = ["tradewind:plugin/process@0.1.0".to_owned()];
        let (exports, file) = ([PROVIDER.to_owned()], InstanceFile::bare("a.wasm"));
        let error = audit(&imports, &exports, &"x".parse().unwrap(), &file, &[]);
        let told = error.unwrap_err().to_string();
        assert!(told.contains("make x.toml"), "{told}");
        let (_, text) = told.split_once(":\n").unwrap();
        assert!(
            InstanceFile::parse(text.as_bytes())
                .unwrap()
                .grants
                .process
                .is_some()
        );
    }

    #[test]
    fn a_capability_that_the_build_lacks_is_named_before_its_grant() {
        let audited = |absent: &[&str]| {
            let imports = ["tradewind:aws/ec2@0.1.0".to_owned()];
            let exports = [PROVIDER.to_owned()];
            audit(
                &imports,
                &exports,
                &"x".parse().unwrap(),
                &written(Grants::default()),
                absent,
            )
        };
        let error = audited(&["aws"]).unwrap_err();
        assert!(
            matches!(error, Error::Absent { feature: "aws", .. }),
            "{error}"
        );
        assert!(matches!(
            audited(&["kubernetes"]),
            Err(Error::Ungranted { .. })
        ));
    }

    const PROVIDER: &str = "tradewind:plugin/cloud-provider@0.1.0";
    const POLICY: &str = "tradewind:plugin/scheduling-policy@0.1.0";

    #[test]
    fn the_import_list_is_the_permission_list() {
        let none = Grants::default();
        let http: Grants = toml::from_str("[http]\nhosts = [\"a\"]").unwrap();
        let ok = |imports: &[&str], export, grants| run(imports, export, grants).is_ok();
        assert!(ok(
            &["tradewind:plugin/log@0.1.0", "tradewind:plugin/clock@0.1.0"],
            PROVIDER,
            &none
        ));
        assert!(ok(&["tradewind:plugin/http@0.1.0"], PROVIDER, &http));
        assert_eq!(
            run(&["wasi:cli/environment@0.2.9"], POLICY, &none),
            Ok(Audit {
                kind: Kind::Policy,
                wasi: true
            })
        );
        for (imports, export, part) in [
            (
                &["tradewind:plugin/http@0.1.0"],
                PROVIDER,
                "[grants.http]\nhosts =",
            ),
            (&["tradewind:plugin/process@0.1.0"], PROVIDER, "x.toml"),
            (
                &["tradewind:aws/ec2@0.1.0"],
                PROVIDER,
                "[grants.aws]\nregions =",
            ),
            (&["tradewind:aws/ec2@0.2.0"], PROVIDER, "does not offer"),
            (
                &["tradewind:containers/engine@0.1.0"],
                POLICY,
                "must replay",
            ),
            (&["tradewind:plugin/clock@0.1.0"], POLICY, "must replay"),
            (&["tradewind:plugin/http@0.2.0"], PROVIDER, "does not offer"),
            (
                &["wasi:http/outgoing-handler@0.2.0"],
                PROVIDER,
                "does not offer",
            ),
            (&["env"], PROVIDER, "does not offer"),
            (
                &["tradewind:plugin/log@0.1.0"],
                "tradewind:plugin/cloud-provider@9.0.0",
                "9.0.0",
            ),
        ] {
            let error = run(imports, export, &none).unwrap_err().to_string();
            assert!(error.contains(part), "{error}");
        }
    }

    #[test]
    fn the_shown_grants_are_valid() {
        for (_, grant) in grantable() {
            let file = format!("component = \"a.wasm\"\n{grant}");
            crate::load::instance_file::InstanceFile::parse(file.as_bytes()).unwrap();
        }
    }
}
