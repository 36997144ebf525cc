//! `dev`: a daemon to try things with. It is this program once more, as `serve`, in a folder of its own, and so are its clients.

use std::{
    fs::{self, DirBuilder, File},
    io::{self, Write},
    net::{Ipv4Addr, TcpListener},
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
    process::{ExitStatus, Output, Stdio},
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tokio::{
    process::{Child, Command},
    time::{sleep, timeout},
};
use tradewind_cli::{Globals, args::Dev, tame};
use tradewind_config::runtime_file;
use ulid::Ulid;

use super::Error;
use crate::serve::signals;

/// The instances, by file: this machine, and two clouds of tables.
const INSTANCES: [(&str, &str); 3] = [
    ("local", include_str!("dev/local.toml")),
    ("north", include_str!("dev/north.toml")),
    ("south", include_str!("dev/south.toml")),
];
/// The service that it shows itself with.
const SAMPLE: &str = "welcome";
/// The components that it can't do without.
const NEEDED: [&str; 3] = ["cheapest", "process", "simulated"];
/// How long a deployment may take to end.
const ENDING: Duration = Duration::from_secs(40);
/// How long the daemon may take to end; it waits for requests in progress.
const STOPPING: Duration = Duration::from_secs(90);
const LOOK: Duration = Duration::from_millis(50);

/// A daemon to try things with could not be had.
#[derive(Debug, thiserror::Error)]
pub enum Trouble {
    #[error("this program was built without components")]
    NoComponents,
    #[error("the port {port} of 127.0.0.1 can't be used")]
    Port { port: u16, source: io::Error },
    #[error("a daemon runs with the folder \"{}\" already, at {address}", path.display())]
    Busy { path: PathBuf, address: String },
    #[error("the folder \"{}\" can't be used", path.display())]
    Folder { path: PathBuf, source: io::Error },
    #[error("this program can't be started once more")]
    Program(#[source] io::Error),
    #[error("signals can't be received")]
    Signals(#[source] io::Error),
    #[error("the daemon ended by itself, with {status}: {said}")]
    Ended { status: ExitStatus, said: String },
    #[error("`tradewind {command}` failed: {said}")]
    Client { command: String, said: String },
}

impl Trouble {
    pub fn remedy(&self) -> Option<&'static str> {
        match self {
            Self::NoComponents => {
                Some("run `make plugins`, which builds the components and this program with them")
            }
            Self::Busy { .. } => Some("stop it first, or name another folder with --data"),
            Self::Port { .. } => Some("name another with --port, or leave --port out"),
            Self::Client { .. } => Some("see the log in the daemon's folder, which --keep keeps"),
            _ => None,
        }
    }
}

/// # Errors
/// Whatever keeps the daemon from running until it is told to end.
pub fn run(globals: &Globals, args: &Dev) -> Result<(), Error> {
    let missing = NEEDED
        .iter()
        .any(|name| tradewind_builtin::component(name).is_none());
    if missing {
        return Err(Trouble::NoComponents.into());
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(Trouble::Program)?;
    let bench = Bench::new(globals.data.as_deref(), args)?;
    let done = runtime.block_on(bench.work());
    bench.clean();
    Ok(done?)
}

/// One daemon with its folder.
struct Bench {
    program: PathBuf,
    folder: PathBuf,
    port: u16,
    /// The folder is removed at the end, and everything that runs is ended.
    throwaway: bool,
}

impl Bench {
    fn new(data: Option<&Path>, args: &Dev) -> Result<Self, Trouble> {
        let port = args.port.unwrap_or(0);
        // Told here, before anything is made.
        TcpListener::bind((Ipv4Addr::LOCALHOST, port))
            .map_err(|source| Trouble::Port { port, source })?;
        let program = std::env::current_exe().map_err(Trouble::Program)?;
        let folder = data.map_or_else(
            || {
                std::env::temp_dir().join(format!(
                    "tradewind-dev-{}",
                    Ulid::r#gen().to_string().to_lowercase()
                ))
            },
            Path::to_owned,
        );
        let unusable = |source| Trouble::Folder {
            path: folder.clone(),
            source,
        };
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&folder)
            .map_err(unusable)?;
        let folder = folder.canonicalize().map_err(unusable)?;
        if let Some(daemon) =
            runtime_file::read(&folder).filter(|daemon| daemon.is_running(&folder))
        {
            return Err(Trouble::Busy {
                path: folder,
                address: daemon.address,
            });
        }
        let bench = Self {
            throwaway: data.is_none() && !args.keep,
            program,
            folder,
            port,
        };
        bench.furnish().map_err(|source| Trouble::Folder {
            path: bench.folder.clone(),
            source,
        })?;
        Ok(bench)
    }

    /// What is there already stays as it is.
    fn furnish(&self) -> io::Result<()> {
        let plugins = self.folder.join("plugins");
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&plugins)?;
        let mut files = vec![
            (
                self.config(),
                "# Settings of the daemon that `tradewind dev` runs here.\n".to_owned(),
            ),
            (self.manifest(), self.sample()),
        ];
        files.extend(
            INSTANCES.map(|(name, text)| (plugins.join(format!("{name}.toml")), text.to_owned())),
        );
        for (path, text) in files {
            match File::options().write(true).create_new(true).open(&path) {
                Ok(mut file) => file.write_all(text.as_bytes())?,
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn config(&self) -> PathBuf {
        self.folder.join("config.toml")
    }

    fn manifest(&self) -> PathBuf {
        self.folder.join(format!("{SAMPLE}.yaml"))
    }

    fn log(&self) -> PathBuf {
        self.folder.join("log")
    }

    /// The manifest of the sample. A JSON text is a YAML one.
    fn sample(&self) -> String {
        let program = Value::from(self.program.to_string_lossy());
        include_str!("dev/welcome.yaml").replace("PROGRAM", &program.to_string())
    }

    /// This program on the folder, without anything of the user's own settings. What the terminal sends reaches `dev` alone.
    fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("TRADEWIND_") {
                command.env_remove(name);
            }
        }
        command
            .arg("--data")
            .arg(&self.folder)
            .arg("--config")
            .arg(self.config())
            .stdin(Stdio::null())
            .process_group(0);
        command
    }

    /// From the start of the daemon to its end.
    async fn work(&self) -> Result<(), Trouble> {
        let stop = signals::listen_in_terminal().map_err(Trouble::Signals)?;
        let mut daemon = self.start().map_err(Trouble::Program)?;
        let ended = tokio::select! {
            biased;
            _ = stop.wait() => None,
            status = daemon.wait() => Some(Err(self.ended(status.map_err(Trouble::Program)?))),
            shown = self.show() => Some(shown),
        };
        match ended {
            // Its processes run on: the next daemon on the folder finds them.
            Some(Err(ended @ Trouble::Ended { .. })) => Err(ended),
            Some(Err(failed)) => {
                self.end(&mut daemon).await;
                Err(failed)
            }
            None | Some(Ok(())) => {
                eprintln!("\nending what runs here");
                self.end(&mut daemon).await;
                Ok(())
            }
        }
    }

    fn start(&self) -> io::Result<Child> {
        let log = File::options().create(true).append(true).open(self.log())?;
        self.command()
            .arg("serve")
            .arg("--listen")
            .arg(format!("{}:{}", Ipv4Addr::LOCALHOST, self.port))
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
    }

    fn ended(&self, status: ExitStatus) -> Trouble {
        let log = fs::read_to_string(self.log()).unwrap_or_default();
        let lines: Vec<&str> = log.lines().rev().take(8).collect();
        let said: Vec<&str> = lines.into_iter().rev().collect();
        Trouble::Ended {
            status,
            said: tame(&said.join("\n")),
        }
    }

    /// Waits for the daemon, applies the sample, says what there is. Ends only when something fails.
    async fn show(&self) -> Result<(), Trouble> {
        let address = self.address().await;
        self.client(
            &["apply", "-f", &self.manifest().to_string_lossy()],
            Stdio::inherit(),
        )
        .await?;
        let shown = self
            .client(&["-o", "json", "get", SAMPLE], Stdio::piped())
            .await?;
        let endpoint = serde_json::from_slice(&shown.stdout)
            .ok()
            .and_then(|view| endpoint(&view));
        // Nobody may read it: the daemon goes on.
        let _unread = io::stdout().write_all(self.words(&address, endpoint.as_deref()).as_bytes());
        std::future::pending().await
    }

    async fn address(&self) -> String {
        let mut said = false;
        loop {
            if let Some(daemon) =
                runtime_file::read(&self.folder).filter(|daemon| daemon.is_running(&self.folder))
            {
                return daemon.address;
            }
            let compiles =
                runtime_file::starting(&self.folder).filter(|starting| starting.components > 0);
            if let Some(starting) = compiles.filter(|_| !said) {
                said = true;
                let count = match starting.components {
                    1 => "1 component".to_owned(),
                    several => format!("{several} components"),
                };
                eprintln!("compiling {count}, at the first start alone");
            }
            sleep(LOOK).await;
        }
    }

    async fn client(&self, arguments: &[&str], errors: Stdio) -> Result<Output, Trouble> {
        let child = self
            .command()
            .args(arguments)
            .stdout(Stdio::piped())
            .stderr(errors)
            .kill_on_drop(true)
            .spawn()
            .map_err(Trouble::Program)?;
        let output = child.wait_with_output().await.map_err(Trouble::Program)?;
        if output.status.success() {
            return Ok(output);
        }
        let said = tame(String::from_utf8_lossy(&output.stderr).trim());
        Err(Trouble::Client {
            command: arguments.join(" "),
            said: if said.is_empty() {
                output.status.to_string()
            } else {
                said
            },
        })
    }

    fn words(&self, address: &str, endpoint: Option<&str>) -> String {
        let folder = self.folder.display();
        let mut words = format!("\nA daemon answers at {address}\n");
        if let Some(endpoint) = endpoint {
            words.push_str(&format!(
                "It runs the service \"{SAMPLE}\":\n\n  curl {endpoint}\n"
            ));
        }
        words.push_str(&format!(
            "\nIn another terminal:\n\n  export TRADEWIND_DATA={folder}\n  tradewind get\n  tradewind offers\n  tradewind explain {SAMPLE}\n  \
             tradewind apply -f {}\n\nIts log is {}.\n",
            self.manifest().display(),
            self.log().display(),
        ));
        words.push_str(if self.throwaway {
            "Ctrl-C ends everything that runs here, and removes the folder.\n"
        } else {
            "Ctrl-C ends the daemon and the service; the folder stays, and other deployments run on.\n"
        });
        words
    }

    /// Ends what runs, then the daemon. What can't be ended is named.
    async fn end(&self, daemon: &mut Child) {
        for (namespace, name) in self.deployments().await {
            if !self.throwaway && name != SAMPLE {
                continue;
            }
            let wait = format!("{}s", ENDING.as_secs());
            let arguments = ["-n", &namespace, "delete", &name, "--timeout", &wait];
            if let Err(error) = self.client(&arguments, Stdio::piped()).await {
                eprintln!("the deployment \"{name}\" may run on: {error}");
            }
        }
        let pid = daemon
            .id()
            .and_then(|pid| Pid::from_raw(pid.try_into().ok()?));
        if let Some(pid) = pid {
            let _gone = kill_process(pid, Signal::TERM);
        }
        if timeout(STOPPING, daemon.wait()).await.is_err() {
            eprintln!("the daemon does not end by itself, and is killed");
            let _gone = daemon.kill().await;
        }
    }

    /// Namespace and name of each. None of a daemon that does not answer.
    async fn deployments(&self) -> Vec<(String, String)> {
        // One that is starting has none of its own yet.
        if runtime_file::read(&self.folder).is_none() {
            return Vec::new();
        }
        let Ok(listed) = self.client(&["-o", "json", "get"], Stdio::piped()).await else {
            return Vec::new();
        };
        let listed: Value = serde_json::from_slice(&listed.stdout).unwrap_or_default();
        let items = listed.get("items").unwrap_or(&listed).as_array().cloned();
        let text = |of: &Value, key: &str| Some(of.get(key)?.as_str()?.to_owned());
        items
            .unwrap_or_default()
            .iter()
            .filter_map(|one| Some((text(one, "namespace")?, text(one, "name")?)))
            .collect()
    }

    fn clean(&self) {
        if self.throwaway
            && let Err(error) = fs::remove_dir_all(&self.folder)
        {
            eprintln!("\"{}\" can't be removed: {error}", self.folder.display());
        }
    }
}

/// The first address at which a deployment answers.
fn endpoint(view: &Value) -> Option<String> {
    let mut left = vec![view];
    while let Some(value) = left.pop() {
        match value {
            Value::Object(fields) => {
                let of = |key: &str| fields.get(key);
                if let (Some(host), Some(port)) = (
                    of("host").and_then(Value::as_str),
                    of("number").and_then(Value::as_u64),
                ) {
                    return Some(format!("http://{host}:{port}/"));
                }
                left.extend(fields.values());
            }
            Value::Array(items) => left.extend(items),
            _ => {}
        }
    }
    None
}
