//! Where canaries are planted: one function for each way in which a secret reaches the daemon. A further capability gets a further line in
//! `PLANTS`; those that go to clouds are in `clouds`.

use std::{path::PathBuf, sync::Arc};

use anyhow::{Context, Result};
use axum::{
    Router,
    http::{HeaderMap, StatusCode, Uri},
};
use parking_lot::Mutex;
use tempfile::TempDir;
use tradewind_kit::Daemon;

use super::search::Canary;

/// Whether a canary has come to where it belongs.
pub(super) type Arrived = Box<dyn Fn(&Daemon) -> Result<bool>>;

/// A canary, all that has to be written for it, and how one sees that it arrived at the place that it is meant for.
pub(super) struct Planted {
    pub(super) canary: Canary,
    /// Instance files by name.
    pub(super) instances: Vec<(String, String)>,
    /// Lines of the daemon's `[credentials]`.
    pub(super) credentials: Vec<String>,
    /// What `tradewind credential seal` is given, by its names.
    pub(super) sealed: Vec<(String, String)>,
    /// Variables of the daemon.
    pub(super) environment: Vec<(String, String)>,
    /// Files of the daemon's secrets folder.
    pub(super) secrets: Vec<(String, String)>,
    /// Deployments.
    pub(super) manifests: Vec<(&'static str, String)>,
    /// What these deployments have to come to: a status, or a text that is told of them.
    pub(super) become_: Vec<(&'static str, &'static str)>,
    pub(super) arrived: Arrived,
}

/// Every way.
pub(super) const PLANTS: [fn(&Site) -> Result<Planted>; 9] = [
    bearer_file,
    basic_env,
    header_command,
    bearer_named,
    bearer_sealed,
    error_of_the_plugin,
    crash_of_the_plugin,
    workload_variable,
    workload_file,
];

/// What the canaries are tried on: a server that writes down what it receives, and a folder for files that hold credentials.
pub(super) struct Site {
    folder: TempDir,
    port: u16,
    received: Arc<Mutex<Vec<(String, HeaderMap)>>>,
    server: tokio::task::JoinHandle<()>,
}

impl Site {
    pub(super) fn open() -> Result<Self> {
        let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
        listener.set_nonblocking(true)?;
        let port = listener.local_addr()?.port();
        let received = Arc::<Mutex<Vec<(String, HeaderMap)>>>::default();
        let notes = received.clone();
        let answer = move |uri: Uri, headers: HeaderMap| async move {
            let path = uri.path().to_owned();
            let status = if path.ends_with("/refused") {
                StatusCode::UNAUTHORIZED
            } else {
                StatusCode::OK
            };
            notes.lock().push((path, headers));
            (
                status,
                [("www-authenticate", "Bearer realm=\"here\"")],
                "who are you?",
            )
        };
        let listener = tokio::net::TcpListener::from_std(listener)?;
        let server = tokio::spawn(async move {
            // It ends with the test.
            let _ = axum::serve(listener, Router::new().fallback(answer)).await;
        });
        Ok(Self {
            folder: tradewind_kit::private_folder()?,
            port,
            received,
            server,
        })
    }

    fn file(&self, name: &str, content: &str) -> Result<PathBuf> {
        let path = self.folder.path().join(name);
        std::fs::write(&path, content)?;
        Ok(path)
    }

    /// An instance that uses a credential at a server that answers, at one that refuses, and where it may not go; then does as told.
    fn prying(
        &self,
        name: &str,
        canary: &Canary,
        source: &str,
        inject: &str,
        then: &str,
    ) -> (String, String) {
        const MASK: u8 = 0xa5;
        let port = self.port;
        let patterns: Vec<Vec<u8>> = canary
            .patterns()
            .iter()
            .map(|p| p.iter().map(|b| b ^ MASK).collect())
            .collect();
        // One is enough to see that the search finds what is there.
        let patterns = if then.starts_with("plant") {
            patterns.into_iter().take(1).collect()
        } else {
            patterns
        };
        let text = format!(
            r#"component = "prying-provider.wasm"
[settings]
urls = ["http://127.0.0.1:{port}/{name}/answered", "http://127.0.0.1:{port}/{name}/refused", "http://127.0.0.2:{port}/{name}/elsewhere", "http://localhost:{port}/{name}/not-for-this-host"]
credential = "key"
patterns = {patterns:?}
mask = {MASK}
then = "{then}"
[grants.http]
hosts = ["127.0.0.1:{port}", "localhost:{port}"]
plain-http = true
private-addresses = true
[[grants.http.credentials]]
name = "key"
hosts = ["127.0.0.1:{port}"]
source = {source}
inject = {inject}
"#
        );
        (name.to_owned(), text)
    }

    /// Whether the server has received a header with this value, both where it answered and where it refused.
    fn received(&self, instance: &str, header: &'static str, value: String) -> Arrived {
        let (received, instance) = (self.received.clone(), instance.to_owned());
        Box::new(move |_| {
            let received = received.lock();
            let with = |ending: &str| {
                let path = format!("/{instance}/{ending}");
                received.iter().any(|(p, headers)| {
                    *p == path
                        && headers
                            .get(header)
                            .is_some_and(|v| v.as_bytes() == value.as_bytes())
                })
            };
            Ok(with("answered") && with("refused"))
        })
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        self.server.abort();
    }
}

impl Planted {
    pub(super) fn of(canary: Canary, instance: (String, String), arrived: Arrived) -> Self {
        Self {
            canary,
            instances: vec![instance],
            credentials: Vec::new(),
            sealed: Vec::new(),
            environment: Vec::new(),
            secrets: Vec::new(),
            manifests: Vec::new(),
            become_: Vec::new(),
            arrived,
        }
    }
}

// === credentials of outbound requests ===

/// Its value in a file; used by `apply` as well, which fails. Beside it an instance that puts the pattern into its own memory.
fn bearer_file(site: &Site) -> Result<Planted> {
    let canary = Canary::new("bearer-file");
    let source = format!(
        "{{ file = \"{}\" }}",
        site.file("bearer", &canary.value)?.display()
    );
    let instance = site.prying("bearer-file", &canary, &source, "\"bearer\"", "answer");
    let control = site.prying("plant-control", &canary, &source, "\"bearer\"", "plant");
    let arrived = site.received(
        "bearer-file",
        "authorization",
        format!("Bearer {}", canary.value),
    );
    let mut planted = Planted::of(canary, instance, arrived);
    planted.instances.push(control);
    let placed = "  placement: {providers: [bearer-file]}\n  services:\n    web: {command: [serve], resources: {cpu: 10m, memory: 16Mi}}\n";
    planted
        .manifests
        .push(("tempted", manifest("tempted", placed)));
    planted.become_.push(("tempted", "refused: "));
    Ok(planted)
}

/// `user:password` in a variable of the daemon.
fn basic_env(site: &Site) -> Result<Planted> {
    let canary = Canary::new("basic-env");
    let instance = site.prying(
        "basic-env",
        &canary,
        "{ env = \"CANARY_BASIC\" }",
        "\"basic\"",
        "answer",
    );
    let (notes, needle) = (site.received.clone(), canary.clone());
    let arrived = move |_: &Daemon| {
        let notes = notes.lock();
        let of = |headers: &HeaderMap| {
            headers
                .get("authorization")
                .map(|v| v.as_bytes().to_vec())
                .unwrap_or_default()
        };
        let mut received = notes
            .iter()
            .filter(|(path, _)| path == "/basic-env/answered")
            .map(|(_, headers)| of(headers));
        Ok(received.any(|value| {
            value.starts_with(b"Basic ") && !super::found(&value, &[&needle]).is_empty()
        }))
    };
    let value = format!("user:{}", canary.value);
    Ok(Planted {
        environment: vec![("CANARY_BASIC".to_owned(), value)],
        ..Planted::of(canary, instance, Box::new(arrived))
    })
}

/// What a program prints, as a header of its own name.
fn header_command(site: &Site) -> Result<Planted> {
    let canary = Canary::new("header-command");
    let file = site.file("printed", &canary.value)?;
    let source = format!("{{ command = [\"cat\", \"{}\"] }}", file.display());
    let instance = site.prying(
        "header-command",
        &canary,
        &source,
        "{ header = \"x-api-key\" }",
        "answer",
    );
    let arrived = site.received("header-command", "x-api-key", canary.value.clone());
    Ok(Planted::of(canary, instance, arrived))
}

/// A credential of the daemon's own settings, by its name there.
fn bearer_named(site: &Site) -> Result<Planted> {
    let canary = Canary::new("bearer-named");
    let line = format!(
        "canary = {{ file = \"{}\" }}\n",
        site.file("named", &canary.value)?.display()
    );
    let instance = site.prying(
        "bearer-named",
        &canary,
        "{ credential = \"canary\" }",
        "\"bearer\"",
        "answer",
    );
    let arrived = site.received(
        "bearer-named",
        "authorization",
        format!("Bearer {}", canary.value),
    );
    Ok(Planted {
        credentials: vec![line],
        ..Planted::of(canary, instance, arrived)
    })
}

/// A credential that is stored sealed in the data folder.
fn bearer_sealed(site: &Site) -> Result<Planted> {
    let canary = Canary::new("bearer-sealed");
    let instance = site.prying(
        "bearer-sealed",
        &canary,
        "{ sealed = \"kept\" }",
        "\"bearer\"",
        "answer",
    );
    let arrived = site.received(
        "bearer-sealed",
        "authorization",
        format!("Bearer {}", canary.value),
    );
    Ok(Planted {
        sealed: vec![("kept".to_owned(), canary.value.clone())],
        ..Planted::of(canary, instance, arrived)
    })
}

/// The plugin fails after it has used it, and tells all it knows.
fn error_of_the_plugin(site: &Site) -> Result<Planted> {
    breaks(site, Canary::new("then-fails"), "fail")
}

/// The plugin breaks off after it has used it. Beside it one that has put the pattern into its memory before.
fn crash_of_the_plugin(site: &Site) -> Result<Planted> {
    let mut planted = breaks(site, Canary::new("then-traps"), "trap")?;
    let source = format!(
        "{{ file = \"{}\" }}",
        site.file("then-traps", &planted.canary.value)?.display()
    );
    planted.instances.push(site.prying(
        "dump-control",
        &planted.canary,
        &source,
        "\"bearer\"",
        "plant-and-trap",
    ));
    Ok(planted)
}

fn breaks(site: &Site, canary: Canary, then: &str) -> Result<Planted> {
    let name = canary.name;
    let source = format!(
        "{{ file = \"{}\" }}",
        site.file(name, &canary.value)?.display()
    );
    let instance = site.prying(name, &canary, &source, "\"bearer\"", then);
    let arrived = site.received(name, "authorization", format!("Bearer {}", canary.value));
    Ok(Planted::of(canary, instance, arrived))
}

// === secrets of workloads ===

const LOCAL: &str = "component = \"process.wasm\"\n[grants.process]\ncommands = [\"*\"]\nsecrets = [\"variable\", \"file\"]\n";

pub(super) fn manifest(name: &str, spec: &str) -> String {
    format!(
        "apiVersion: tradewind.dev/v1\nkind: CloudDeployment\nmetadata: {{name: {name}}}\nspec:\n{spec}"
    )
}

/// A service that is given both secrets and does this.
fn service(name: &str, does: &str) -> String {
    let task = format!(
        "      command: [sh, -c, '{does}']\n      env: {{CANARY: {{secret: variable}}}}\n      files: [{{path: token, secret: {{secret: file}}}}]\n      resources: {{cpu: 10m, memory: 16Mi}}\n"
    );
    manifest(
        name,
        &format!("  placement: {{providers: [local]}}\n  services:\n    web:\n{task}"),
    )
}

/// The folders of a deployment's processes: every one that holds a working folder.
fn environments(daemon: &Daemon) -> Vec<Vec<u8>> {
    let here = daemon.data().display().to_string();
    let all = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let of_this = all.filter(|entry| {
        std::fs::read_link(entry.path().join("cwd"))
            .is_ok_and(|cwd| cwd.display().to_string().starts_with(&here))
    });
    of_this
        .filter_map(|entry| std::fs::read(entry.path().join("environ")).ok())
        .collect()
}

/// In the environment of processes: one that keeps it, one that prints it, one that crashes, and one that may not have what it asks for.
fn workload_variable(_: &Site) -> Result<Planted> {
    let canary = Canary::new("variable");
    let needle = canary.clone();
    let arrived = move |daemon: &Daemon| {
        Ok(environments(daemon)
            .iter()
            .any(|env| !super::found(env, &[&needle]).is_empty()))
    };
    let refused =
        service("refused", "sleep 600").replace("secret: variable", "secret: not-granted");
    Ok(Planted {
        secrets: vec![
            ("variable".to_owned(), canary.value.clone()),
            ("not-granted".to_owned(), canary.value.clone()),
        ],
        manifests: vec![
            ("keeper", service("keeper", "exec sleep 600")),
            (
                "printer",
                service("printer", "echo \"$CANARY\"; cat token; exec sleep 600"),
            ),
            ("crasher", service("crasher", "exit 3")),
            ("refused", refused),
        ],
        become_: vec![
            ("keeper", "running"),
            ("printer", "running"),
            ("crasher", "3"),
            ("refused", "not-granted"),
        ],
        ..Planted::of(
            canary,
            ("local".to_owned(), LOCAL.to_owned()),
            Box::new(arrived),
        )
    })
}

/// In a file of the same processes.
fn workload_file(_: &Site) -> Result<Planted> {
    let canary = Canary::new("file");
    let needle = canary.clone();
    let arrived = move |daemon: &Daemon| {
        let files = super::files(&daemon.data().join("processes")).context("no processes")?;
        Ok(files.iter().any(|(path, content)| {
            path.ends_with("/work/token") && !super::found(content, &[&needle]).is_empty()
        }))
    };
    let mut planted = Planted::of(
        canary.clone(),
        ("local".to_owned(), LOCAL.to_owned()),
        Box::new(arrived),
    );
    planted.secrets.push(("file".to_owned(), canary.value));
    Ok(planted)
}
