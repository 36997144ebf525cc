//! Google's Compute Engine as far as instances need it: a token endpoint that verifies assertions, operations, instances, serial ports.
//!
//! Shapes after the Compute Engine API v1 and the flow for service accounts (RFC 7523). What fails for want of room fails in the operation,
//! after it was accepted, as there.

use std::{
    collections::BTreeMap,
    sync::{Arc, OnceLock},
};

use anyhow::{Result, anyhow};
use axum::http::Method;
use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use rsa::{
    RsaPrivateKey,
    pkcs8::{EncodePrivateKey, LineEnding},
    rand_core,
    traits::PublicKeyParts,
};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::{Asked, Reply, Rules, Served, Tokens};

const PROJECT: &str = "shop-project";
const EMAIL: &str = "tradewind@shop-project.iam.gserviceaccount.com";
const PAGE: usize = 2;

/// The cloud and the files with the credential that goes with it.
pub struct Gcp {
    pub served: Served<Compute>,
    folder: TempDir,
    /// A line of the private key: it must show nowhere.
    pub canary: String,
}

pub struct Compute {
    address: String,
    key: Arc<RsaPrivateKey>,
    pub tokens: Tokens,
    pub machines: BTreeMap<String, Machine>,
    operations: BTreeMap<String, Operation>,
    /// Operations by request id.
    asked: BTreeMap<String, String>,
    /// How often each name was created.
    pub created: BTreeMap<String, u32>,
    /// Milliseconds.
    pub boot: u64,
    pub removal: u64,
    /// How long a job works until it ends well by itself, in milliseconds. None: until a test says how it ends.
    pub work: Option<u64>,
    pub quota: Option<usize>,
    /// Zones without room.
    pub full: Vec<String>,
}

/// An instance, whole.
#[derive(Debug, Clone)]
pub struct Machine {
    pub zone: String,
    pub body: Value,
    pub created_at: u64,
    pub deleted_at: Option<u64>,
    /// Turned off, with this exit status left behind.
    pub ended: Option<i32>,
    pub serial: String,
    /// So many bytes of it are not kept any more.
    pub forgotten: usize,
}

#[derive(Debug, Clone)]
struct Operation {
    zone: String,
    error: Option<(&'static str, String)>,
    done: bool,
}

/// One key for all tests of a process: making it takes a moment.
fn key() -> Result<Arc<RsaPrivateKey>> {
    static KEY: OnceLock<Option<Arc<RsaPrivateKey>>> = OnceLock::new();
    KEY.get_or_init(|| RsaPrivateKey::new(&mut Chance, 2048).ok().map(Arc::new))
        .clone()
        .ok_or_else(|| anyhow!("no key can be made"))
}

/// The machine's own randomness.
struct Chance;

impl rand_core::RngCore for Chance {
    fn next_u32(&mut self) -> u32 {
        rand_core::impls::next_u32_via_fill(self)
    }
    fn next_u64(&mut self) -> u64 {
        rand_core::impls::next_u64_via_fill(self)
    }
    fn fill_bytes(&mut self, out: &mut [u8]) {
        // What can't be read stays zero, and makes no key.
        let _ = self.try_fill_bytes(out);
    }
    fn try_fill_bytes(&mut self, out: &mut [u8]) -> Result<(), rand_core::Error> {
        let read = std::fs::File::open("/dev/urandom")
            .and_then(|mut chance| std::io::Read::read_exact(&mut chance, out));
        read.map_err(rand_core::Error::new)
    }
}

impl rand_core::CryptoRng for Chance {}

impl Gcp {
    pub fn start() -> Result<Self> {
        let key = key()?;
        let pem = key.to_pkcs8_pem(LineEnding::LF)?;
        let served = Served::start(|address| Compute {
            address: address.to_owned(),
            key,
            tokens: Tokens::living(3600),
            machines: BTreeMap::new(),
            operations: BTreeMap::new(),
            asked: BTreeMap::new(),
            created: BTreeMap::new(),
            boot: 50,
            removal: 50,
            work: None,
            quota: None,
            full: Vec::new(),
        })?;
        let canary = pem.lines().nth(3).unwrap_or_default().to_owned();
        let gcp = Self {
            served,
            folder: crate::private_folder()?,
            canary,
        };
        gcp.account(EMAIL)?;
        Ok(gcp)
    }

    /// Writes the key file of an account, as the daemon will read it.
    pub fn account(&self, email: &str) -> Result<()> {
        let pem = key()?.to_pkcs8_pem(LineEnding::LF)?;
        let file = json!({
            "type": "service_account", "project_id": PROJECT, "private_key_id": "1", "private_key": pem.as_str(), "client_email": email,
            "token_uri": format!("{}/token", self.served.address),
        });
        Ok(std::fs::write(
            self.folder.path().join("key.json"),
            serde_json::to_string_pretty(&file)?,
        )?)
    }

    /// An instance file for the provider `gcp`, with the grants it needs. Times are those of a cloud that is quick.
    pub fn instance(&self, secrets: &[&str]) -> String {
        let (address, host, key) = (
            &self.served.address,
            self.served.host(),
            self.folder.path().join("key.json").display().to_string(),
        );
        format!(
            r#"component = "gcp.wasm"
[settings]
project = "{PROJECT}"
zones = ["us-central1-a", "europe-west1-b"]
sizes = ["e2-small"]
url = "{address}/compute/v1"
settle = "500ms"
create-timeout = "10s"
timeout = "2s"
[grants.http]
hosts = ["{host}"]
plain-http = true
private-addresses = true
secrets = {secrets:?}
[[grants.http.credentials]]
name = "google"
source = {{ file = "{key}" }}
inject = {{ google-service-account = {{ token-url = "{address}/token" }} }}
"#
        )
    }

    /// What exists now, by name.
    pub fn live(&self) -> BTreeMap<String, Machine> {
        self.served.with(|compute| {
            compute.advance(super::now());
            compute
                .machines
                .iter()
                .filter(|(_, m)| m.deleted_at.is_none())
                .map(|(name, m)| (name.clone(), m.clone()))
                .collect()
        })
    }
}

impl Machine {
    /// What its start script is.
    pub fn script(&self) -> &str {
        let items = self.body["metadata"]["items"].as_array();
        items
            .and_then(|items| {
                items.iter().find(|item| item["key"] == "startup-script")?["value"].as_str()
            })
            .unwrap_or_default()
    }
}

fn refused(status: u16, reason: &str, message: &str) -> Reply {
    let errors = json!([{"message": message, "domain": "global", "reason": reason}]);
    Reply::json(
        status,
        json!({"error": {"code": status, "message": message, "errors": errors}}),
    )
}

impl Rules for Compute {
    fn answer(&mut self, now: u64, asked: &Asked) -> Reply {
        self.advance(now);
        if asked.path == "/token" {
            return self.token(now, asked);
        }
        if !self.tokens.admits(now, asked) {
            return refused(
                401,
                "authError",
                "Request had invalid authentication credentials.",
            );
        }
        let Some(rest) = asked
            .path
            .strip_prefix(&format!("/compute/v1/projects/{PROJECT}"))
        else {
            return refused(404, "notFound", "The resource was not found");
        };
        let parts: Vec<&str> = rest.split('/').skip(1).collect();
        match (&asked.method, parts.as_slice()) {
            (&Method::GET, []) => {
                Reply::json(200, json!({"kind": "compute#project", "name": PROJECT}))
            }
            (&Method::GET, ["aggregated", "instances"]) => self.list(asked, now),
            (&Method::POST, ["zones", zone, "instances"]) => self.insert(zone, asked, now),
            (&Method::GET, ["zones", zone, "instances", name]) => self.get(zone, name, now),
            (&Method::DELETE, ["zones", zone, "instances", name]) => self.delete(zone, name, now),
            (&Method::GET, ["zones", zone, "instances", name, "serialPort"]) => {
                self.serial(zone, name, asked)
            }
            (&Method::GET, ["zones", zone, "instances", name, "getGuestAttributes"]) => {
                self.attributes(zone, name, asked)
            }
            (&Method::POST, ["zones", zone, "operations", name, "wait"]) => {
                self.wait(zone, name, now)
            }
            _ => refused(404, "notFound", "The resource was not found"),
        }
    }
}

impl Compute {
    fn token(&mut self, now: u64, asked: &Asked) -> Reply {
        let form = asked.form();
        let public = self.key.to_public_key();
        let public = DecodingKey::from_rsa_raw_components(
            &public.n().to_bytes_be(),
            &public.e().to_bytes_be(),
        );
        let mut rules = Validation::new(Algorithm::RS256);
        rules.set_audience(&[format!("{}/token", self.address)]);
        rules.set_issuer(&[EMAIL]);
        rules.set_required_spec_claims(&["exp", "aud", "iss"]);
        let assertion = form
            .get("assertion")
            .map(String::as_str)
            .unwrap_or_default();
        let told = jsonwebtoken::decode::<Value>(assertion, &public, &rules);
        let scoped = told.is_ok_and(|told| {
            told.claims["scope"] == "https://www.googleapis.com/auth/cloud-platform"
        });
        let right = form
            .get("grant_type")
            .is_some_and(|kind| kind == "urn:ietf:params:oauth:grant-type:jwt-bearer");
        if asked.method != Method::POST || !right || !scoped {
            return Reply::json(
                400,
                json!({"error": "invalid_grant", "error_description": "Invalid JWT Signature."}),
            );
        }
        self.tokens.give(now)
    }

    fn advance(&mut self, now: u64) {
        let removal = self.removal;
        self.machines
            .retain(|_, machine| machine.deleted_at.is_none_or(|at| now < at + removal));
        let Some(work) = self.work else { return };
        // Those whose script turns them off.
        for machine in self
            .machines
            .values_mut()
            .filter(|machine| machine.script().contains("poweroff"))
        {
            if now >= machine.created_at + self.boot + work {
                machine.ended.get_or_insert(0);
            }
        }
    }

    fn list(&self, asked: &Asked, now: u64) -> Reply {
        let filter = asked
            .query
            .get("filter")
            .and_then(|text| text.strip_prefix("labels.")?.split_once('='));
        let Some((label, value)) = filter else {
            return refused(400, "invalid", "Invalid list filter expression.");
        };
        let skip: usize = asked
            .query
            .get("pageToken")
            .and_then(|text| text.parse().ok())
            .unwrap_or(0);
        let fits = |(_, machine): &(&String, &Machine)| machine.body["labels"][label] == value;
        let all: Vec<_> = self.machines.iter().filter(fits).collect();
        // A zone in which there is nothing says so by a warning.
        let warning = json!({"code": "NO_RESULTS_ON_PAGE", "message": "There are no results for scope 'zones/us-west1-a' on this page."});
        let mut items = json!({"zones/us-west1-a": {"warning": warning}});
        for (name, machine) in all.iter().skip(skip).take(PAGE) {
            let scope = format!("zones/{}", machine.zone);
            let shown = self.shown(name, machine, now);
            match items[&scope]["instances"].as_array_mut() {
                Some(instances) => instances.push(shown),
                None => items[&scope] = json!({"instances": [shown]}),
            }
        }
        let mut body = json!({"kind": "compute#instanceAggregatedList", "items": items});
        if all.len() > skip + PAGE {
            body["nextPageToken"] = (skip + PAGE).to_string().into();
        }
        Reply::json(200, body)
    }

    fn insert(&mut self, zone: &str, asked: &Asked, now: u64) -> Reply {
        let id = asked.query.get("requestId").cloned().unwrap_or_default();
        let shape = id.split('-').map(str::len).collect::<Vec<_>>();
        if shape != [8, 4, 4, 4, 12] || !id.bytes().all(|b| b == b'-' || b.is_ascii_hexdigit()) {
            return refused(
                400,
                "invalid",
                "Invalid value for field 'requestId': it is not a UUID.",
            );
        }
        // The same request is the same operation, whatever has become of it.
        if let Some(name) = self.asked.get(&id) {
            return self.operation(name);
        }
        let body = asked.json();
        if let Err(message) = valid(zone, &body) {
            return refused(400, "invalid", &message);
        }
        let name = body["name"].as_str().unwrap_or_default().to_owned();
        if self.machines.contains_key(&name) {
            return refused(
                409,
                "alreadyExists",
                &format!(
                    "The resource 'projects/{PROJECT}/zones/{zone}/instances/{name}' already exists"
                ),
            );
        }
        if self.quota.is_some_and(|quota| self.machines.len() >= quota) {
            return refused(
                403,
                "quotaExceeded",
                "Quota 'CPUS' exceeded. Limit: 2.0 in region us-central1.",
            );
        }
        let error = self.full.iter().any(|full| full == zone).then(|| {
            let message =
                format!("The zone 'projects/{PROJECT}/zones/{zone}' does not have enough resources available to fulfill the request.");
            ("ZONE_RESOURCE_POOL_EXHAUSTED", message)
        });
        if error.is_none() {
            *self.created.entry(name.clone()).or_default() += 1;
            let machine = Machine {
                zone: zone.to_owned(),
                body,
                created_at: now,
                deleted_at: None,
                ended: None,
                serial: String::new(),
                forgotten: 0,
            };
            self.machines.insert(name, machine);
        }
        let operation = format!("operation-{}", self.operations.len() + 1);
        self.operations.insert(
            operation.clone(),
            Operation {
                zone: zone.to_owned(),
                error,
                done: false,
            },
        );
        self.asked.insert(id, operation.clone());
        self.operation(&operation)
    }

    fn operation(&self, name: &str) -> Reply {
        let Some(operation) = self.operations.get(name) else {
            return refused(404, "notFound", "The resource was not found");
        };
        let mut body = json!({"kind": "compute#operation", "name": name, "status": if operation.done { "DONE" } else { "RUNNING" }});
        if let Some((code, message)) = operation.error.as_ref().filter(|_| operation.done) {
            body["error"] = json!({"errors": [{"code": code, "message": message}]});
            body["httpErrorStatusCode"] = 503.into();
        }
        Reply::json(200, body)
    }

    fn wait(&mut self, zone: &str, name: &str, _: u64) -> Reply {
        if let Some(operation) = self
            .operations
            .get_mut(name)
            .filter(|operation| operation.zone == zone)
        {
            operation.done = true;
        }
        self.operation(name)
    }

    fn find(&self, zone: &str, name: &str) -> Option<&Machine> {
        self.machines
            .get(name)
            .filter(|machine| machine.zone == zone)
    }

    fn get(&self, zone: &str, name: &str, now: u64) -> Reply {
        match self.find(zone, name) {
            Some(machine) => Reply::json(200, self.shown(name, machine, now)),
            None => refused(
                404,
                "notFound",
                &format!(
                    "The resource 'projects/{PROJECT}/zones/{zone}/instances/{name}' was not found"
                ),
            ),
        }
    }

    fn delete(&mut self, zone: &str, name: &str, now: u64) -> Reply {
        match self
            .machines
            .get_mut(name)
            .filter(|machine| machine.zone == zone)
        {
            Some(machine) => {
                machine.deleted_at.get_or_insert(now);
                let operation = format!("operation-{}", self.operations.len() + 1);
                self.operations.insert(
                    operation.clone(),
                    Operation {
                        zone: zone.to_owned(),
                        error: None,
                        done: false,
                    },
                );
                self.operation(&operation)
            }
            None => refused(404, "notFound", "The resource was not found"),
        }
    }

    fn serial(&self, zone: &str, name: &str, asked: &Asked) -> Reply {
        let Some(machine) = self.find(zone, name) else {
            return refused(404, "notFound", "The resource was not found");
        };
        let number = |key: &str| {
            asked
                .query
                .get(key)
                .and_then(|text| text.parse::<usize>().ok())
        };
        if number("port") != Some(2) {
            return Reply::json(
                200,
                json!({"contents": "the machine's own console", "start": "0", "next": "25"}),
            );
        }
        let start = number("start")
            .unwrap_or(0)
            .max(machine.forgotten)
            .min(machine.serial.len());
        let contents = machine.serial.get(start..).unwrap_or_default();
        Reply::json(
            200,
            json!({"contents": contents, "start": start.to_string(), "next": machine.serial.len().to_string()}),
        )
    }

    fn attributes(&self, zone: &str, name: &str, asked: &Asked) -> Reply {
        let asked_for = asked
            .query
            .get("queryPath")
            .is_some_and(|path| path == "tradewind/exit");
        match self
            .find(zone, name)
            .and_then(|machine| machine.ended)
            .filter(|_| asked_for)
        {
            Some(code) => {
                let items =
                    json!([{"namespace": "tradewind", "key": "exit", "value": code.to_string()}]);
                Reply::json(
                    200,
                    json!({"queryPath": "tradewind/exit", "queryValue": {"items": items}}),
                )
            }
            None => refused(
                404,
                "notFound",
                "The resource 'guest attributes' was not found",
            ),
        }
    }

    fn shown(&self, name: &str, machine: &Machine, now: u64) -> Value {
        let mut shown = machine.body.clone();
        let up = now >= machine.created_at + self.boot;
        let status = match (machine.deleted_at, machine.ended, up) {
            (Some(_), ..) => "STOPPING",
            (None, Some(_), _) => "TERMINATED",
            (None, None, true) => "RUNNING",
            (None, None, false) => "STAGING",
        };
        shown["name"] = name.into();
        shown["status"] = status.into();
        shown["zone"] = format!(
            "https://www.googleapis.com/compute/v1/projects/{PROJECT}/zones/{}",
            machine.zone
        )
        .into();
        shown["creationTimestamp"] = timestamp(machine.created_at).into();
        shown["networkInterfaces"][0]["networkIP"] = "10.0.0.2".into();
        if shown["networkInterfaces"][0]["accessConfigs"].is_array() && up {
            shown["networkInterfaces"][0]["accessConfigs"][0]["natIP"] = "127.0.0.1".into();
        }
        shown
    }
}

/// A moment as the API writes it, in its own zone, which is eight hours behind.
fn timestamp(millis: u64) -> String {
    let seconds = millis / 1000 - 8 * 3600;
    let (days, second) = (seconds / 86_400, seconds % 86_400);
    // Days since the March of the year 0, by the rules of the calendar.
    let z = days + 719_468;
    let (era, day_of_era) = (z / 146_097, z % 146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month + 2) / 5 + 1;
    let (month, later) = if month < 10 {
        (month + 3, 0)
    } else {
        (month - 9, 1)
    };
    let year = year_of_era + era * 400 + later;
    let (hour, minute) = (second / 3600, second % 3600 / 60);
    format!(
        "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{:02}.{:03}-08:00",
        second % 60,
        millis % 1000
    )
}

/// Holds an instance against the published description: what is required, and that nothing else is there.
fn valid(zone: &str, body: &Value) -> Result<(), String> {
    let keys = |value: &Value, at: &str, known: &[&str], required: &[&str]| {
        let object = value
            .as_object()
            .ok_or_else(|| format!("Invalid value for field '{at}'"))?;
        if let Some(key) = object.keys().find(|key| !known.contains(&key.as_str())) {
            return Err(format!(
                "Invalid JSON payload received. Unknown name \"{key}\" at '{at}': Cannot find field."
            ));
        }
        let lacking = required.iter().find(|key| value[**key].is_null());
        lacking.map_or(Ok(()), |key| {
            Err(format!("Required field '{at}.{key}' not specified"))
        })
    };
    let known = [
        "name",
        "machineType",
        "labels",
        "tags",
        "disks",
        "networkInterfaces",
        "metadata",
        "serviceAccounts",
        "scheduling",
    ];
    keys(
        body,
        "resource",
        &known,
        &["name", "machineType", "disks", "networkInterfaces"],
    )?;
    let name = body["name"].as_str().unwrap_or_default();
    let plain = |text: &str| {
        text.bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"-_".contains(&b))
    };
    if !plain(name)
        || !(1..=63).contains(&name.len())
        || !name.starts_with(|c: char| c.is_ascii_lowercase())
        || name.ends_with('-')
    {
        return Err(format!("Invalid value for field 'resource.name': '{name}'"));
    }
    for (key, value) in body["labels"].as_object().into_iter().flatten() {
        let value = value.as_str().unwrap_or("?");
        if !plain(key) || !plain(value) || key.len() > 63 || value.len() > 63 {
            return Err(format!(
                "Invalid value for field 'resource.labels': '{key}'"
            ));
        }
    }
    if body["machineType"] != format!("zones/{zone}/machineTypes/e2-small") {
        return Err("Invalid value for field 'resource.machineType'".to_owned());
    }
    let disk = &body["disks"][0];
    keys(
        disk,
        "resource.disks[0]",
        &["boot", "autoDelete", "initializeParams"],
        &["boot", "initializeParams"],
    )?;
    keys(
        &disk["initializeParams"],
        "initializeParams",
        &["sourceImage", "diskSizeGb", "diskType"],
        &["sourceImage"],
    )?;
    keys(
        &body["networkInterfaces"][0],
        "networkInterfaces[0]",
        &["network", "subnetwork", "accessConfigs"],
        &["network"],
    )?;
    for item in body["metadata"]["items"].as_array().into_iter().flatten() {
        keys(item, "metadata.items", &["key", "value"], &["key", "value"])?;
    }
    Ok(())
}
