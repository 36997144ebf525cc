//! The fixture cloud for end-to-end tests: started in the test's process, reached by a daemon through the `rest` provider.
//!
//! ```ignore
//! let cloud = FixtureCloud::start(Config::default())?;
//! let daemon = Daemon::start(&["cheapest", "rest"], &[("cloud", &cloud.instance())])?;
//! cloud.fault(Fault::new(Kind::OutOfCapacity).on(Operation::Create).within("east"));
//! ```
//!
//! Let the cloud outlive the daemon (declare it first): the daemon removes what it runs when it is dropped.

use anyhow::Result;
use tempfile::TempDir;
pub use tradewind_fixture_cloud::{
    Cloud, Config, Fault, Instance, Kind, Lag, Operation, Server, State, Stock,
};

/// A cloud of the test's own. Stopped when dropped.
pub struct FixtureCloud {
    server: Server,
    /// Holds the credential that the daemon injects.
    folder: TempDir,
}

impl FixtureCloud {
    pub fn start(config: Config) -> Result<Self> {
        let folder = crate::private_folder()?;
        std::fs::write(folder.path().join("token"), &config.token)?;
        Ok(Self {
            server: Server::start(config)?,
            folder,
        })
    }

    /// An instance file for the `rest` provider, with the grants it needs. Times are those of a cloud that is quick.
    pub fn instance(&self) -> String {
        self.instance_with("")
    }

    /// Likewise, with further settings (`timeout = "300ms"`), or other values of those that are there.
    pub fn instance_with(&self, settings: &str) -> String {
        let key = |line: &str| line.split('=').next().unwrap_or_default().trim().to_owned();
        let given: Vec<String> = settings.lines().map(key).collect();
        let usual = [
            "timeout = \"2s\"",
            "settle = \"500ms\"",
            "create-timeout = \"5s\"",
        ];
        let usual: Vec<&str> = usual
            .into_iter()
            .filter(|line| !given.contains(&key(line)))
            .collect();
        let (address, token) = (
            &self.server.address,
            self.folder.path().join("token").display().to_string(),
        );
        let host = address.trim_start_matches("http://");
        format!(
            r#"component = "rest.wasm"
[settings]
url = "{address}"
{}
{settings}
[grants.http]
hosts = ["{host}"]
plain-http = true
private-addresses = true
[[grants.http.credentials]]
name = "cloud"
source = {{ file = "{token}" }}
inject = "bearer"
"#,
            usual.join("\n")
        )
    }

    /// Where the API and the control API are.
    pub fn address(&self) -> &str {
        &self.server.address
    }

    /// Lets something go wrong from now on.
    pub fn fault(&self, fault: Fault) {
        self.with(|cloud| cloud.add_fault(fault));
    }

    /// Nothing goes wrong any more.
    pub fn heal(&self) {
        self.with(Cloud::clear_faults);
    }

    /// A region goes down, or comes back with everything that was in it.
    pub fn region(&self, name: &str, up: bool) {
        self.with(|cloud| cloud.set_region(name, up));
    }

    /// An instance disappears by itself.
    pub fn disappear(&self, id: &str) -> bool {
        self.with(|cloud| cloud.disappear(id))
    }

    /// An instance answers with this HTTP status from now on.
    pub fn status(&self, id: &str, status: u16) -> bool {
        self.with(|cloud| cloud.set_status(id, status))
    }

    /// A size in a region costs so many micro-USD per hour from now on.
    pub fn price(&self, region: &str, size: &str, price: u64) {
        self.with(|cloud| cloud.set_stock(region, size, |stock| stock.price = Some(price)));
    }

    /// There are at most so many of a size in a region from now on.
    pub fn capacity(&self, region: &str, size: &str, capacity: Option<u32>) {
        self.with(|cloud| cloud.set_stock(region, size, |stock| stock.capacity = capacity));
    }

    /// Everything that ever was.
    pub fn ledger(&self) -> Vec<Instance> {
        self.with(|cloud| cloud.ledger().cloned().collect())
    }

    /// What exists now.
    pub fn live(&self) -> Vec<Instance> {
        self.ledger()
            .into_iter()
            .filter(Instance::is_live)
            .collect()
    }

    /// What exists now of one deployment.
    pub fn live_of(&self, deployment: &str) -> Vec<Instance> {
        self.live()
            .into_iter()
            .filter(|instance| instance.tag("tradewind.dev/deployment") == deployment)
            .collect()
    }

    /// How often an operation was called.
    pub fn calls(&self, operation: Operation) -> u64 {
        self.with(|cloud| cloud.calls().get(&operation).copied().unwrap_or(0))
    }

    /// Anything else.
    pub fn with<T>(&self, act: impl FnOnce(&mut Cloud) -> T) -> T {
        self.server.with(act)
    }
}
