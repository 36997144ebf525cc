//! Which variables a workload may set. Some change how a granted program is loaded or what it runs before its own code: with them a granted
//! `sleep` would be any program. It looks at names alone.

use tradewind_core::{
    failure::Failure,
    grant::{ProcessGrant, pattern},
};

/// What the wrapper uses for itself; see `launch`.
pub(super) const CARRIED: &str = "TRADEWIND_SET_";

/// Names, or beginnings of names, by which the dynamic loader, the C library, shells, interpreters, language runtimes and common tools are
/// told to load or to run something, or to trust somebody else.
const LOADERS: [&str; 72] = [
    "LD_*",
    "DYLD_*",
    "GCONV_PATH",
    "GETCONF_DIR",
    "GLIBC_TUNABLES",
    "MALLOC_*",
    "NLSPATH",
    "LOCPATH",
    "HOSTALIASES",
    "RES_OPTIONS",
    "LOCALDOMAIN",
    "TZDIR",
    "BASH_*",
    "BASHOPTS",
    "SHELLOPTS",
    "ENV",
    "PATH",
    "IFS",
    "CDPATH",
    "PS4",
    "PROMPT_COMMAND",
    "ZDOTDIR",
    "SHELL",
    "HOME",
    "XDG_*",
    "PYTHON*",
    "PERL5*",
    "PERLLIB",
    "RUBY*",
    "GEM_*",
    "BUNDLE_*",
    "NODE_OPTIONS",
    "NODE_PATH",
    "NODE_EXTRA_CA_CERTS",
    "NPM_CONFIG_*",
    "npm_config_*",
    "DENO_*",
    "JAVA_*",
    "JDK_*",
    "_JAVA_*",
    "CLASSPATH",
    "DOTNET_ROOT*",
    "DOTNET_STARTUP_HOOKS",
    "DOTNET_ADDITIONAL_DEPS",
    "DOTNET_SHARED_STORE",
    "CORECLR_*",
    "COMPlus_*",
    "PHPRC",
    "PHP_INI_SCAN_DIR",
    "LUA_*",
    "R_PROFILE*",
    "R_ENVIRON*",
    "R_LIBS*",
    "ERL_*",
    "GUILE_*",
    "TCLLIBPATH",
    "GIT_*",
    "SSH_*",
    "SSL_*",
    "OPENSSL_*",
    "CURL_HOME",
    "CURL_CA_BUNDLE",
    "EDITOR",
    "VISUAL",
    "PAGER",
    "LESS",
    "LESSOPEN",
    "LESSCLOSE",
    "MANPAGER",
    "BROWSER",
    "AWKPATH",
    "AWKLIBPATH",
];

/// Whether a variable changes how a program is loaded or interpreted.
pub(super) fn is_loaders(name: &str) -> bool {
    LOADERS
        .iter()
        .any(|pattern| pattern::matches(pattern, name))
}

/// # Errors
/// `denied` for one that the grant does not let in, with the line that would. `all`: the names that the workload sets.
pub(super) fn check<'a>(
    grant: &ProcessGrant,
    name: &str,
    field: &str,
    all: impl Iterator<Item = &'a str>,
) -> Result<(), Failure> {
    let Some(allowed) = &grant.environment else {
        if grant.is_any() || !is_loaders(name) {
            return Ok(());
        }
        let message = format!(
            "the variable \"{name}\" changes how a program is loaded or interpreted, so that a granted program would run what is not granted"
        );
        let names: Vec<String> = all.map(|name| format!("\"{name}\"")).collect();
        let remedy = format!(
            "to let it in, put environment = [{}] into [grants.process] of the instance file: a list lets in nothing else",
            names.join(", ")
        );
        return Err(Failure::not_granted(message, field).remedy(remedy));
    };
    if allowed
        .iter()
        .any(|pattern| pattern::matches(pattern, name))
    {
        return Ok(());
    }
    let message = format!("the variable \"{name}\" is not granted");
    Err(Failure::not_granted(message, field).remedy(format!(
        "add \"{name}\" to environment in [grants.process] of the instance file"
    )))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grant(commands: &str, environment: Option<&[&str]>) -> ProcessGrant {
        let environment = environment.map(|names| names.iter().map(|n| (*n).into()).collect());
        ProcessGrant {
            environment,
            ..ProcessGrant::of(&[commands])
        }
    }

    #[test]
    fn a_list_lets_in_what_it_names_and_without_one_loaders_stay_out() {
        for (commands, environment, name, allowed) in [
            ("sleep", None, "GREETING", true),
            ("sleep", None, "LD_PRELOAD", false),
            ("sleep", None, "LDAP_URL", true),
            ("sleep", None, "BASH_ENV", false),
            ("sleep", None, "PATH", false),
            ("sleep", None, "PATHS", true),
            ("sleep", None, "NODE_ENV", true),
            ("sleep", None, "NODE_OPTIONS", false),
            ("sleep", None, "PYTHONSTARTUP", false),
            ("sleep", None, "JAVA_TOOL_OPTIONS", false),
            ("sleep", None, "JDK_JAVA_OPTIONS", false),
            ("sleep", None, "GIT_SSH_COMMAND", false),
            ("sleep", None, "OPENSSL_CONF", false),
            ("*", None, "LD_PRELOAD", true),
            ("sleep", Some(&["LD_PRELOAD"][..]), "LD_PRELOAD", true),
            ("sleep", Some(&["APP_*"][..]), "APP_A", true),
            ("sleep", Some(&["APP_*"][..]), "GREETING", false),
            ("*", Some(&["APP_*"][..]), "LD_PRELOAD", false),
            ("sleep", Some(&["*"][..]), "LD_PRELOAD", true),
        ] {
            let checked = check(
                &grant(commands, environment),
                name,
                "env[0].name",
                ["A", name].into_iter(),
            );
            assert_eq!(
                checked.is_ok(),
                allowed,
                "{commands} {environment:?} {name}"
            );
            if let Err(failure) = checked {
                let remedy = failure.remedy.unwrap_or_default();
                assert!(
                    failure.message.contains(name)
                        && remedy.contains("environment")
                        && remedy.contains(name),
                    "{remedy}"
                );
            }
        }
    }
}
