//! A Kubernetes cluster of the test's own: etcd, API server and controllers on this machine's loopback, and a player of the kubelet for its node.
//! What `tests/backends/kubernetes/setup.sh` has installed; `TRADEWIND_TEST_KUBECONFIG` names a cluster that is used instead.
//! Nothing runs in its pods: the player only says so.

mod kubelet;

use std::{
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use anyhow::{Context, Result, bail, ensure};
use parking_lot::{Mutex, MutexGuard};
use serde_json::Value;
use tempfile::TempDir;

use self::kubelet::Kubelet;
use crate::{eventually_blocking, when};

/// The version that the set-up builds.
const VERSION: &str = "1.20.2";
const TOKEN: &str = "a-token-of-the-tests";

/// Each takes a third of a gigabyte and a core for a second: one at a time.
static ONE: Mutex<()> = Mutex::new(());

/// Stopped, with all of its parts, when this is dropped.
pub struct Cluster {
    own: Option<Own>,
    kubeconfig: PathBuf,
    folder: TempDir,
    _alone: MutexGuard<'static, ()>,
}

/// The parts of a cluster that this started. Dropped in this order.
struct Own {
    kubelet: Option<Kubelet>,
    manager: Option<Running>,
    server: Option<Running>,
    _etcd: Running,
    programs: PathBuf,
    store: u16,
    port: u16,
}

/// A program that ends with this.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Where back ends that were built are kept.
fn cache() -> PathBuf {
    let home = || PathBuf::from(std::env::var_os("HOME").unwrap_or_default()).join(".cache");
    std::env::var_os("XDG_CACHE_HOME")
        .map_or_else(home, PathBuf::from)
        .join("tradewind-backends")
}

impl Cluster {
    /// Starts one. None, with the reason on the error output, on a machine that can't have it; an error if back ends are required.
    pub fn start() -> Result<Option<Self>> {
        let alone = ONE.lock();
        let folder = crate::private_folder()?;
        if let Some(given) = std::env::var_os("TRADEWIND_TEST_KUBECONFIG") {
            return Ok(Some(Self {
                own: None,
                kubeconfig: given.into(),
                folder,
                _alone: alone,
            }));
        }
        let programs = cache().join("kubernetes").join(VERSION);
        let missing = ["kube-apiserver", "kube-controller-manager"]
            .iter()
            .any(|program| !programs.join(program).exists());
        if missing || !has("etcd") || !has("kubectl") || !has("openssl") {
            let reason = "there is no cluster: run tests/backends/kubernetes/setup.sh, or name one in TRADEWIND_TEST_KUBECONFIG";
            ensure!(
                std::env::var("TRADEWIND_REQUIRE_BACKENDS").as_deref() != Ok("1"),
                "{reason}"
            );
            eprintln!("left out: {reason}");
            return Ok(None);
        }
        let own = Own::start(folder.path(), programs)?;
        Ok(Some(Self {
            own: Some(own),
            kubeconfig: folder.path().join("kubeconfig"),
            folder,
            _alone: alone,
        }))
    }

    /// Names the API server and the credential of a cluster's administrator; its context is `test`.
    pub fn kubeconfig(&self) -> &Path {
        &self.kubeconfig
    }

    /// Whether its API server can be stopped, and its nodes be played.
    pub fn is_own(&self) -> bool {
        self.own.is_some()
    }

    /// An instance file of the plugin `kubernetes` for it, with further settings and further lines of the grant.
    pub fn instance(&self, settings: &str, grant: &str) -> String {
        let kubeconfig = self.kubeconfig.display();
        // Those of an entry of a list are others.
        let own = grant.lines().any(|line| line.starts_with("namespaces"));
        let namespaces = if own {
            ""
        } else {
            "namespaces = [\"default\"]"
        };
        format!(
            "component = \"kubernetes.wasm\"\n[settings]\ncpu-price = \"0.04\"\nmemory-price = \"0.005\"\n{settings}\n\
             [grants.kubernetes]\nkubeconfig = \"{kubeconfig}\"\n{namespaces}\n{grant}\n"
        )
    }

    /// Stops the API server alone.
    pub fn stop_server(&mut self) {
        if let Some(own) = &mut self.own {
            own.server = None;
        }
    }

    /// Starts it again, where it was.
    pub fn start_server(&mut self) -> Result<()> {
        let folder = self.folder.path().to_owned();
        match &mut self.own {
            Some(own) => own.serve(&folder),
            None => bail!("this cluster is not the test's own"),
        }
    }

    /// What the command line of Kubernetes prints.
    pub fn kubectl(&self, arguments: &[&str]) -> Result<String> {
        self.kubectl_with(arguments, "")
    }

    /// With this as its input.
    pub fn kubectl_with(&self, arguments: &[&str], input: &str) -> Result<String> {
        let file = self.folder.path().join("input");
        std::fs::write(&file, input)?;
        let mut command = Command::new("kubectl");
        command
            .arg("--kubeconfig")
            .arg(&self.kubeconfig)
            .args(arguments)
            .stdin(std::fs::File::open(file)?);
        // It keeps what it has learnt of a cluster at home.
        let output = command.env("HOME", self.folder.path()).output()?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        ensure!(
            output.status.success(),
            "kubectl {arguments:?}: {text}{}",
            String::from_utf8_lossy(&output.stderr)
        );
        Ok(text)
    }

    /// Writes these fields of a pod's status, as a node does. By its address: kubectls before 1.24 know no subresources.
    ///
    /// # Errors
    /// When there is no such pod.
    pub fn report(&self, namespace: &str, pod: &str, status: &Value) -> Result<()> {
        let path = format!("/api/v1/namespaces/{namespace}/pods/{pod}");
        let mut pod: Value = serde_json::from_str(&self.kubectl(&["get", "--raw", &path])?)?;
        for (field, value) in status.as_object().into_iter().flatten() {
            pod["status"][field] = value.clone();
        }
        // Whatever else has been reported meanwhile.
        pod["metadata"]["resourceVersion"].take();
        let path = format!("{path}/status");
        self.kubectl_with(&["replace", "--raw", &path, "-f", "-"], &pod.to_string())
            .map(drop)
    }

    /// Puts objects there, as somebody else would.
    pub fn apply(&self, yaml: &str) -> Result<()> {
        self.kubectl_with(&["apply", "-f", "-"], yaml).map(drop)
    }

    /// Objects of a kind in a namespace.
    pub fn list(&self, kind: &str, namespace: &str) -> Result<Vec<Value>> {
        let text = self.kubectl(&["get", kind, "-n", namespace, "-o", "json"])?;
        let all: Value = serde_json::from_str(&text)?;
        Ok(all["items"].as_array().cloned().unwrap_or_default())
    }

    /// Those that Tradewind has made.
    pub fn ours(&self, kind: &str, namespace: &str) -> Result<Vec<Value>> {
        let marked = |object: &Value| {
            object["metadata"]["labels"]["app.kubernetes.io/managed-by"] == "tradewind"
        };
        Ok(self
            .list(kind, namespace)?
            .into_iter()
            .filter(marked)
            .collect())
    }

    /// Waits until what Tradewind has made of a kind is as wanted.
    pub fn until(
        &self,
        kind: &str,
        namespace: &str,
        what: &str,
        wanted: impl Fn(&[Value]) -> bool,
    ) -> Result<Vec<Value>> {
        eventually_blocking(format!("{kind} in {namespace} are {what}"), || {
            let seen = self.ours(kind, namespace)?;
            let shown = format!("{seen:#?}");
            Ok(if wanted(&seen) { Ok(seen) } else { Err(shown) })
        })
    }

    /// A number of the API server's metrics: the sum over all lines that begin so and contain every one of these texts.
    pub fn metric(&self, name: &str, with: &[&str]) -> Result<f64> {
        let text = self.kubectl(&["get", "--raw", "/metrics"])?;
        let lines = text
            .lines()
            .filter(|line| line.starts_with(name) && with.iter().all(|part| line.contains(part)));
        Ok(lines
            .filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok())
            .sum())
    }
}

fn has(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|folder| folder.join(program).is_file())
}

/// A port that was free a moment ago.
fn free_port() -> Result<u16> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}

fn spawn(folder: &Path, name: &str, command: &mut Command) -> Result<Running> {
    let log = std::fs::File::options()
        .create(true)
        .append(true)
        .open(folder.join(format!("{name}.log")))?;
    let child = command
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log)
        .spawn()
        .with_context(|| name.to_owned())?;
    Ok(Running(child))
}

impl Own {
    fn start(folder: &Path, programs: PathBuf) -> Result<Self> {
        let key = folder.join("accounts.pem");
        let made = Command::new("openssl")
            .args(["genrsa", "-out"])
            .arg(&key)
            .arg("2048")
            .stderr(Stdio::null())
            .status()?;
        ensure!(made.success(), "no key could be made");
        std::fs::write(
            folder.join("tokens.csv"),
            format!("{TOKEN},admin,1,\"system:masters\"\n"),
        )?;
        let (store, peers) = (free_port()?, free_port()?);
        let url = |port: u16| format!("http://127.0.0.1:{port}");
        let mut etcd = Command::new("etcd");
        etcd.arg("--data-dir")
            .arg(folder.join("etcd"))
            .args(["--log-level", "error"]);
        etcd.args([
            "--listen-client-urls",
            &url(store),
            "--advertise-client-urls",
            &url(store),
        ]);
        etcd.args([
            "--listen-peer-urls",
            &url(peers),
            "--initial-advertise-peer-urls",
            &url(peers),
        ]);
        etcd.args(["--initial-cluster", &format!("default={}", url(peers))]);
        let etcd = spawn(folder, "etcd", &mut etcd)?;
        let port = free_port()?;
        std::fs::write(folder.join("kubeconfig"), kubeconfig(port))?;
        let mut own = Self {
            kubelet: None,
            manager: None,
            server: None,
            _etcd: etcd,
            programs,
            store,
            port,
        };
        own.serve(folder)?;
        let mut manager = Command::new(own.programs.join("kube-controller-manager"));
        manager
            .arg("--kubeconfig")
            .arg(folder.join("kubeconfig"))
            .args(["--leader-elect=false", "--secure-port=0", "--port=0"]);
        // A test does not wait for the pauses of a large cluster.
        manager.args([
            "--concurrent-deployment-syncs=10",
            "--concurrent-replicaset-syncs=10",
            "--concurrent-gc-syncs=20",
        ]);
        manager.args([
            "--kube-api-qps=500",
            "--kube-api-burst=1000",
            "--horizontal-pod-autoscaler-sync-period=5s",
        ]);
        own.manager = Some(spawn(folder, "manager", &mut manager)?);
        own.kubelet = Some(Kubelet::start(
            &format!("https://127.0.0.1:{port}"),
            TOKEN,
            folder,
        )?);
        Ok(own)
    }

    /// Starts the API server and waits until it is ready.
    fn serve(&mut self, folder: &Path) -> Result<()> {
        let key = folder.join("accounts.pem");
        let mut server = Command::new(self.programs.join("kube-apiserver"));
        server
            .arg(format!("--etcd-servers=http://127.0.0.1:{}", self.store))
            .args([
                "--bind-address=127.0.0.1",
                "--advertise-address=127.0.0.1",
                "--insecure-port=0",
            ])
            .arg(format!("--secure-port={}", self.port))
            .arg(format!(
                "--cert-dir={}",
                folder.join("certificates").display()
            ))
            .arg(format!("--service-account-key-file={}", key.display()))
            .arg(format!(
                "--service-account-signing-key-file={}",
                key.display()
            ))
            .arg("--service-account-issuer=https://kubernetes.default.svc")
            .arg(format!(
                "--token-auth-file={}",
                folder.join("tokens.csv").display()
            ))
            .args([
                "--authorization-mode=RBAC",
                "--service-cluster-ip-range=10.96.0.0/16",
            ])
            .arg("--disable-admission-plugins=ServiceAccount");
        let mut running = spawn(folder, "server", &mut server)?;
        let ready = eventually_blocking("the API server is ready", || {
            if let Some(status) = running.0.try_wait()? {
                bail!("the API server ended with {status}");
            }
            let asked = Command::new("kubectl")
                .arg("--kubeconfig")
                .arg(folder.join("kubeconfig"))
                .args(["get", "namespace", "default", "-o", "name"])
                .arg("--request-timeout=2s")
                .env("HOME", folder)
                .output()?;
            let said = String::from_utf8_lossy(&asked.stderr).into_owned();
            Ok(when(asked.status.success(), said))
        });
        ready.with_context(|| {
            std::fs::read_to_string(folder.join("server.log")).unwrap_or_default()
        })?;
        self.server = Some(running);
        Ok(())
    }
}

fn kubeconfig(port: u16) -> String {
    format!(
        "apiVersion: v1\nkind: Config\ncurrent-context: test\n\
         clusters: [{{name: test, cluster: {{server: \"https://127.0.0.1:{port}\", insecure-skip-tls-verify: true}}}}]\n\
         contexts: [{{name: test, context: {{cluster: test, user: test}}}}]\n\
         users: [{{name: test, user: {{token: {TOKEN}}}}}]\n"
    )
}
