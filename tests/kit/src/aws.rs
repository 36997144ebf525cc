//! An AWS for end-to-end tests: moto behind a proxy of ours that adds what moto lacks (`aws::proxy`), reached by a daemon through the `aws`
//! provider.
//!
//! ```ignore
//! let Some(cloud) = AwsCloud::start()? else { return Ok(()) };
//! let daemon = Daemon::start(&["cheapest", "aws"], &[("cloud", &cloud.instance(&["us-east-1"], ""))])?;
//! cloud.rule(Rule::on("RunInstances").times(1).refuse("InsufficientInstanceCapacity"));
//! ```
//!
//! Let the cloud outlive the daemon (declare it first): the daemon removes what it runs when it is dropped.

mod proxy;
mod xml;

use std::{
    io::{BufRead, BufReader},
    path::PathBuf,
    process::{Child, Command, Stdio},
    time::Duration,
};

use anyhow::{Context, Result, bail, ensure};
use tempfile::TempDir;

pub use self::proxy::{Proxy, Rule};

/// The keys of the account, as the tests' credential file holds them.
pub const KEYS: &str = "AKIATESTFIRST:a-secret-key-of-the-tests";

/// moto's server. Stopped when dropped.
pub struct Moto {
    child: Child,
    pub address: String,
}

/// A cloud of the test's own. Stopped when dropped.
pub struct AwsCloud {
    proxy: Proxy,
    moto: Moto,
    /// Holds the credentials that the daemon signs with.
    folder: TempDir,
}

/// An instance as moto has it.
#[derive(Debug, Clone)]
pub struct Machine {
    pub id: String,
    pub region: String,
    pub state: String,
    pub xml: String,
}

impl Moto {
    /// None, with a reason printed, where it is not installed.
    ///
    /// # Errors
    /// When it does not start, or is not installed though it has to be.
    pub fn start() -> Result<Option<Self>> {
        let cache = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
        let cache = cache
            .or_else(|| std::env::home_dir().map(|home| home.join(".cache")))
            .context("no home folder")?;
        let program = cache.join("tradewind-backends/moto/env/bin/moto_server");
        if !program.exists() {
            let required =
                std::env::var("TRADEWIND_REQUIRE_BACKENDS").is_ok_and(|value| value == "1");
            ensure!(!required, "moto is not installed: run `make backends`");
            eprintln!("left out: moto is not installed (`make backends` installs it)");
            return Ok(None);
        }
        let mut command = Command::new(program);
        command
            .args(["-H", "127.0.0.1", "-p", "0"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped());
        let mut child = command.spawn()?;
        let mut lines =
            BufReader::new(child.stderr.take().context("moto has no error output")?).lines();
        for line in lines.by_ref() {
            if let Some((_, address)) = line?.split_once("Running on ") {
                let address = address.trim().to_owned();
                // It logs every request: somebody has to take that.
                std::thread::spawn(move || lines.for_each(drop));
                return Ok(Some(Self { child, address }));
            }
        }
        bail!("moto ended with {}", child.wait()?)
    }
}

impl Drop for Moto {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl AwsCloud {
    /// None, with a reason printed, where moto is not installed.
    ///
    /// # Errors
    /// When it can't be started.
    pub fn start() -> Result<Option<Self>> {
        // Whoever is first.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let Some(moto) = Moto::start()? else {
            return Ok(None);
        };
        let proxy = Proxy::start(&moto.address)?;
        let folder = crate::private_folder()?;
        std::fs::write(folder.path().join("keys"), KEYS)?;
        Ok(Some(Self {
            proxy,
            moto,
            folder,
        }))
    }

    /// Where daemons are sent to.
    pub fn endpoint(&self) -> &str {
        &self.proxy.address
    }

    /// Other credentials in the file from now on.
    ///
    /// # Errors
    /// When it can't be written.
    pub fn rotate(&self, keys: &str) -> Result<()> {
        let (new, file) = (
            self.folder.path().join("new"),
            self.folder.path().join("keys"),
        );
        std::fs::write(&new, keys)?;
        Ok(std::fs::rename(new, file)?)
    }

    /// An instance file for the provider with what it needs in these regions, two zones each. The settings come first in the table `settings`
    /// (`spot = true`), and replace what is usual there. Times are those of a cloud that is quick.
    ///
    /// # Errors
    /// When moto does not tell its subnets.
    pub fn instance(&self, regions: &[&str], settings: &str) -> Result<String> {
        self.instance_with(regions, settings, "")
    }

    /// Likewise, with further lines for the grant (`instances = 2`), which replace what is usual there.
    ///
    /// # Errors
    /// As `instance`.
    pub fn instance_with(&self, regions: &[&str], settings: &str, grant: &str) -> Result<String> {
        let settings = usual(
            settings,
            &[
                "settle = \"2s\"",
                "exit-timeout = \"2s\"",
                "instance-types = [\"t3.small\", \"t3.medium\"]",
            ],
        );
        let keys = self.folder.path().join("keys").display().to_string();
        let own = [
            format!("credentials = {{ file = \"{keys}\" }}"),
            format!("endpoint = \"{}\"", self.endpoint()),
            format!("regions = {regions:?}"),
        ];
        let wide = [
            "instance-types",
            "images",
            "subnets",
            "security-groups",
            "key-names",
        ]
        .map(|list| format!("{list} = [\"*\"]"));
        let further = [
            "load-balancers = true",
            "instances = 100000",
            "timeout = \"4s\"",
        ]
        .map(str::to_owned);
        let lines: Vec<String> = own.into_iter().chain(wide).chain(further).collect();
        let grant = usual(grant, &lines.iter().map(String::as_str).collect::<Vec<_>>());
        let mut places = String::new();
        for region in regions {
            places += &self.place(region)?;
        }
        Ok(format!(
            "component = \"aws.wasm\"\n[settings]\n{settings}\n{places}[grants.aws]\n{grant}\n"
        ))
    }

    fn place(&self, region: &str) -> Result<String> {
        let subnets = self.api(region, "ec2", &[("Action", "DescribeSubnets")])?;
        let of_zone = |zone: char| {
            let name = format!("{region}{zone}");
            let item = xml::items(&subnets, "subnetSet")
                .into_iter()
                .find(|item| xml::text(item, "availabilityZone") == name);
            let subnet = item
                .map(|item| xml::text(&item, "subnetId"))
                .context("moto has no subnet of the zone")?;
            anyhow::Ok(format!("{name} = \"{subnet}\""))
        };
        let images = self.api(
            region,
            "ec2",
            &[("Action", "DescribeImages"), ("Owner.1", "amazon")],
        )?;
        let linux = xml::items(&images, "imagesSet")
            .into_iter()
            .find(|item| xml::text(item, "architecture") == "x86_64");
        let image = linux
            .map(|item| xml::text(&item, "imageId"))
            .context("moto has no image")?;
        let groups = self.api(
            region,
            "ec2",
            &[
                ("Action", "DescribeSecurityGroups"),
                ("GroupName.1", "default"),
            ],
        )?;
        let group = xml::text(&groups, "groupId");
        self.api(
            region,
            "ec2",
            &[("Action", "CreateKeyPair"), ("KeyName", "ops")],
        )
        .or_else(|error| match error.to_string() {
            known if known.contains("Duplicate") => Ok(known),
            _ => Err(error),
        })?;
        Ok(format!(
            "[settings.regions.{region}]\nimage = \"{image}\"\nsubnets = {{ {}, {} }}\nsecurity-groups = [\"{group}\"]\nkey-name = \"ops\"\n",
            of_zone('a')?,
            of_zone('b')?
        ))
    }

    /// Something goes wrong from now on.
    pub fn rule(&self, rule: Rule) {
        self.proxy.with(|state| state.rules.push(rule));
    }

    /// Nothing goes wrong any more.
    pub fn heal(&self) {
        self.proxy.with(|state| state.rules.clear());
    }

    /// The cloud does not know these keys any more.
    pub fn expire(&self, key_id: &str) {
        self.proxy
            .with(|state| state.expired.push(key_id.to_owned()));
    }

    /// It knows them again.
    pub fn forgive(&self, key_id: &str) {
        self.proxy
            .with(|state| state.expired.retain(|known| known != key_id));
    }

    /// Instances that are made from now on are listed only after so long.
    pub fn lag(&self, lag: Duration) {
        self.proxy.with(|state| state.lag = lag);
    }

    /// How the targets of an instance are; `""` as the id: of every instance that nothing else is said of. Else they are healthy.
    pub fn health(&self, id: &str, state: &str) {
        self.proxy
            .with(|proxy| proxy.health.insert(id.to_owned(), state.to_owned()));
    }

    /// What an instance's console shows.
    pub fn console(&self, id: &str, text: &str) {
        self.proxy
            .with(|state| state.consoles.insert(id.to_owned(), text.to_owned()));
    }

    /// Jobs end well by themselves from now on, after so long.
    pub fn work(&self, work: Duration) {
        self.proxy.with(|state| state.work = Some(work));
    }

    /// How often an action was called since the last `forget_calls`.
    pub fn calls(&self, action: &str) -> u64 {
        self.proxy
            .with(|state| state.calls.get(action).copied().unwrap_or(0))
    }

    /// All calls, by action.
    pub fn all_calls(&self) -> std::collections::BTreeMap<String, u64> {
        self.proxy.with(|state| state.calls.clone())
    }

    pub fn forget_calls(&self) {
        self.proxy.with(|state| state.calls.clear());
    }

    /// An instance goes by itself, for this reason.
    ///
    /// # Errors
    /// When moto does not let it.
    pub fn end(&self, machine: &Machine, reason: &str) -> Result<()> {
        self.proxy
            .with(|state| state.reasons.insert(machine.id.clone(), reason.to_owned()));
        self.api(
            &machine.region,
            "ec2",
            &[
                ("Action", "TerminateInstances"),
                ("InstanceId.1", &machine.id),
            ],
        )
        .map(drop)
    }

    /// Every instance of a region that ever was.
    ///
    /// # Errors
    /// When moto does not answer.
    pub fn machines(&self, region: &str) -> Result<Vec<Machine>> {
        let answer = self.api(region, "ec2", &[("Action", "DescribeInstances")])?;
        let instances = xml::items(&answer, "reservationSet")
            .into_iter()
            .flat_map(|reservation| xml::items(&reservation, "instancesSet"));
        let machine = |xml: String| Machine {
            id: xml::text(&xml, "instanceId"),
            region: region.to_owned(),
            state: xml::text(&xml::inside(&xml, "instanceState"), "name"),
            xml,
        };
        Ok(instances.map(machine).collect())
    }

    /// What exists in a region and costs something.
    ///
    /// # Errors
    /// As `machines`.
    pub fn live(&self, region: &str) -> Result<Vec<Machine>> {
        let mut live = self.machines(region)?;
        live.retain(|machine| !matches!(machine.state.as_str(), "terminated" | "shutting-down"));
        Ok(live)
    }

    /// What Elastic Load Balancing lists: of `DescribeLoadBalancers`, `DescribeTargetGroups`, … the members.
    ///
    /// # Errors
    /// When moto does not answer.
    pub fn balancing(
        &self,
        region: &str,
        action: &str,
        parameters: &[(&str, &str)],
    ) -> Result<Vec<String>> {
        let parameters: Vec<(&str, &str)> = [("Action", action)]
            .into_iter()
            .chain(parameters.iter().copied())
            .collect();
        let answer = self.api(region, "elasticloadbalancing", &parameters)?;
        Ok(xml::members(&answer))
    }

    /// Asks moto itself, past the proxy.
    ///
    /// # Errors
    /// When it refuses.
    pub fn api(&self, region: &str, service: &str, parameters: &[(&str, &str)]) -> Result<String> {
        proxy::ask(&self.moto.address, region, service, parameters)
    }
}

impl Machine {
    /// The value of a tag; "" without.
    pub fn tag(&self, key: &str) -> String {
        let tags = xml::items(&self.xml, "tagSet");
        tags.iter()
            .find(|tag| xml::text(tag, "key") == key)
            .map(|tag| xml::text(tag, "value"))
            .unwrap_or_default()
    }

    /// The text of an element.
    pub fn field(&self, name: &str) -> String {
        xml::text(&self.xml, name)
    }
}

/// The text of an element in an answer.
pub fn text(xml: &str, name: &str) -> String {
    xml::text(xml, name)
}

/// The lines that are given, and the usual ones for keys that are not.
fn usual(given: &str, usual: &[&str]) -> String {
    let key = |line: &str| line.split('=').next().unwrap_or_default().trim().to_owned();
    let known: Vec<String> = given.lines().map(key).collect();
    let mut lines: Vec<&str> = usual
        .iter()
        .copied()
        .filter(|line| !known.contains(&key(line)))
        .collect();
    lines.extend(given.lines());
    lines.join("\n")
}
