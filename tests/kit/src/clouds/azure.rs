//! Azure's resource manager as far as container instances need it: a token endpoint, a resource group, container groups.
//!
//! Shapes after the Azure REST API: Microsoft identity platform's client credentials flow; Resource groups, 2021-04-01; Container instances,
//! 2023-05-01. Lists leave the instance view out and come in pages; creation and deletion take their time.

use std::collections::BTreeMap;

use anyhow::Result;
use axum::http::Method;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::{Asked, Reply, Rules, Served, Tokens};

const TENANT: &str = "contoso";
const SUBSCRIPTION: &str = "11111111-2222-3333-4444-555555555555";
const GROUP: &str = "shop";
const CLIENT: &str = "tradewind-client";
const SCOPE: &str = "https://management.azure.com/.default";
pub const SECRET: &str = "canary-client-secret-0123456789";
const PAGE: usize = 2;

/// The cloud and the files with the credential and the secrets that go with it.
pub struct Azure {
    pub served: Served<Arm>,
    folder: TempDir,
}

pub struct Arm {
    address: String,
    pub tokens: Tokens,
    pub groups: BTreeMap<String, ContainerGroup>,
    /// How often each name was created.
    pub created: BTreeMap<String, u32>,
    /// Milliseconds.
    pub boot: u64,
    pub removal: u64,
    /// How long a job works until it ends well by itself, in milliseconds. None: until a test says how it ends.
    pub work: Option<u64>,
    pub quota: Option<usize>,
    pub full: Vec<String>,
}

/// A container group, whole, with what is never shown.
#[derive(Debug, Clone)]
pub struct ContainerGroup {
    pub body: Value,
    pub created_at: u64,
    pub deleted_at: Option<u64>,
    /// How its container has ended.
    pub exit_code: Option<i32>,
    pub restarts: u32,
    pub stopped: bool,
    pub logs: Vec<(String, String)>,
}

impl Azure {
    pub fn start() -> Result<Self> {
        let folder = crate::private_folder()?;
        let served = Served::start(|address| Arm {
            address: address.to_owned(),
            tokens: Tokens::living(3600),
            groups: BTreeMap::new(),
            created: BTreeMap::new(),
            boot: 50,
            removal: 50,
            work: None,
            quota: None,
            full: Vec::new(),
        })?;
        let azure = Self { served, folder };
        azure.secret(SECRET)?;
        Ok(azure)
    }

    /// The client's secret, as the daemon will read it.
    pub fn secret(&self, value: &str) -> Result<()> {
        Ok(std::fs::write(
            self.folder.path().join("client-secret"),
            format!("{value}\n"),
        )?)
    }

    /// An instance file for the provider `azure`, with the grants it needs. Times are those of a cloud that is quick.
    pub fn instance(&self, secrets: &[&str]) -> String {
        let source = format!(
            "{{ file = \"{}\" }}",
            self.folder.path().join("client-secret").display()
        );
        self.instance_from(&source, secrets)
    }

    /// Likewise, with the credential from elsewhere.
    pub fn instance_from(&self, source: &str, secrets: &[&str]) -> String {
        let (address, host) = (&self.served.address, self.served.host());
        format!(
            r#"component = "azure.wasm"
[settings]
subscription = "{SUBSCRIPTION}"
resource-group = "{GROUP}"
locations = ["eastus", "westeurope"]
url = "{address}"
settle = "500ms"
create-timeout = "10s"
timeout = "2s"
[grants.http]
hosts = ["{host}"]
plain-http = true
private-addresses = true
secrets = {secrets:?}
[[grants.http.credentials]]
name = "azure"
source = {source}
[grants.http.credentials.inject.oauth2]
token-url = "{address}/{TENANT}/oauth2/v2.0/token"
client-id = "{CLIENT}"
scope = "{SCOPE}"
"#
        )
    }

    /// What exists now, by name.
    pub fn live(&self) -> BTreeMap<String, ContainerGroup> {
        self.served.with(|arm| {
            arm.advance(super::now());
            arm.groups
                .iter()
                .filter(|(_, group)| group.deleted_at.is_none())
                .map(|(name, group)| (name.clone(), group.clone()))
                .collect()
        })
    }
}

fn refused(status: u16, code: &str, message: &str) -> Reply {
    Reply::json(status, json!({"error": {"code": code, "message": message}}))
}

impl Rules for Arm {
    fn answer(&mut self, now: u64, asked: &Asked) -> Reply {
        self.advance(now);
        if asked.path == format!("/{TENANT}/oauth2/v2.0/token") {
            return self.token(now, asked);
        }
        if !self.tokens.admits(now, asked) {
            return refused(
                401,
                "InvalidAuthenticationToken",
                "The access token is invalid.",
            );
        }
        let root = format!("/subscriptions/{SUBSCRIPTION}/resourceGroups/{GROUP}");
        let Some(rest) = asked.path.strip_prefix(&root) else {
            return refused(
                404,
                "ResourceGroupNotFound",
                "Resource group could not be found.",
            );
        };
        let version = asked.query.get("api-version").map(String::as_str);
        let parts: Vec<&str> = rest.split('/').skip(1).collect();
        match (&asked.method, parts.as_slice(), version) {
            (&Method::GET, [], Some("2021-04-01")) => {
                let properties = json!({"provisioningState": "Succeeded"});
                Reply::json(
                    200,
                    json!({"id": root, "name": GROUP, "location": "eastus", "properties": properties}),
                )
            }
            (
                method,
                [
                    "providers",
                    "Microsoft.ContainerInstance",
                    "containerGroups",
                    rest @ ..,
                ],
                Some("2023-05-01"),
            ) => match (method, rest) {
                (&Method::GET, []) => self.list(asked, now),
                (&Method::GET, [name]) => self.get(name, now),
                (&Method::PUT, [name]) => self.put(name, asked, now),
                (&Method::DELETE, [name]) => self.delete(name, now),
                (&Method::POST, [name, "stop"]) => self.stop(name),
                (&Method::GET, [name, "containers", "workload", "logs"]) => self.logs(name, asked),
                _ => refused(405, "MethodNotAllowed", "The method is not allowed."),
            },
            (_, _, None) => refused(
                400,
                "MissingApiVersionParameter",
                "The api-version query parameter (?api-version=) is required.",
            ),
            _ => refused(
                400,
                "InvalidResourceType",
                "The resource type could not be found for this version.",
            ),
        }
    }
}

impl Arm {
    fn token(&mut self, now: u64, asked: &Asked) -> Reply {
        let form = asked.form();
        let given = |key: &str| form.get(key).map(String::as_str).unwrap_or_default();
        let right = asked.method == Method::POST
            && given("grant_type") == "client_credentials"
            && given("scope") == SCOPE;
        if !right {
            return Reply::json(
                400,
                json!({"error": "invalid_request", "error_description": "AADSTS90014: a required field is missing."}),
            );
        }
        if given("client_id") != CLIENT || given("client_secret") != SECRET {
            let description = "AADSTS7000215: Invalid client secret provided.\r\nTrace ID: 0\r\n";
            return Reply::json(
                401,
                json!({"error": "invalid_client", "error_description": description, "error_codes": [7000215]}),
            );
        }
        self.tokens.give(now)
    }

    fn advance(&mut self, now: u64) {
        let removal = self.removal;
        self.groups
            .retain(|_, group| group.deleted_at.is_none_or(|at| now < at + removal));
        let Some(work) = self.work else { return };
        for group in self
            .groups
            .values_mut()
            .filter(|group| group.body["properties"]["restartPolicy"] != "Always")
        {
            if now >= group.created_at + self.boot + work {
                group.exit_code.get_or_insert(0);
            }
        }
    }

    fn list(&self, asked: &Asked, now: u64) -> Reply {
        let skip: usize = asked
            .query
            .get("$skiptoken")
            .and_then(|text| text.parse().ok())
            .unwrap_or(0);
        let page: Vec<Value> = self
            .groups
            .iter()
            .skip(skip)
            .take(PAGE)
            .map(|(name, group)| self.shown(name, group, now, false))
            .collect();
        let mut body = json!({"value": page});
        if self.groups.len() > skip + PAGE {
            let link = format!(
                "{}{}?api-version=2023-05-01&$skiptoken={}",
                self.address,
                asked.path,
                skip + PAGE
            );
            body["nextLink"] = link.into();
        }
        Reply::json(200, body)
    }

    fn get(&self, name: &str, now: u64) -> Reply {
        match self.groups.get(name) {
            Some(group) => Reply::json(200, self.shown(name, group, now, true)),
            None => refused(404, "ResourceNotFound", "The Resource was not found."),
        }
    }

    fn put(&mut self, name: &str, asked: &Asked, now: u64) -> Reply {
        let body = asked.json();
        if let Err(message) = valid(name, &body) {
            return refused(400, "InvalidRequestContent", &message);
        }
        let location = body["location"].as_str().unwrap_or_default().to_owned();
        match self.groups.get(name) {
            Some(group) if group.deleted_at.is_some() => {
                return refused(
                    409,
                    "ContainerGroupTransitioning",
                    "The container group is still transitioning, please retry later.",
                );
            }
            Some(_) => {}
            None if self.full.contains(&location) => {
                return refused(
                    409,
                    "ServiceUnavailable",
                    "The requested resource is not available in the location at this moment.",
                );
            }
            None if self.quota.is_some_and(|quota| self.groups.len() >= quota) => {
                return refused(
                    409,
                    "ContainerGroupQuotaReached",
                    "Resource type 'Microsoft.ContainerInstance/containerGroups' container group quota exceeded.",
                );
            }
            None => *self.created.entry(name.to_owned()).or_default() += 1,
        }
        let group = ContainerGroup {
            body,
            created_at: now,
            deleted_at: None,
            exit_code: None,
            restarts: 0,
            stopped: false,
            logs: Vec::new(),
        };
        let shown = self.shown(name, &group, now, true);
        self.groups.insert(name.to_owned(), group);
        Reply::json(201, shown)
    }

    fn delete(&mut self, name: &str, now: u64) -> Reply {
        match self.groups.get_mut(name) {
            Some(group) => {
                group.deleted_at.get_or_insert(now);
                Reply::json(202, Value::Null)
            }
            None => Reply::json(204, Value::Null),
        }
    }

    fn stop(&mut self, name: &str) -> Reply {
        match self.groups.get_mut(name) {
            Some(group) => {
                group.stopped = true;
                Reply::json(204, Value::Null)
            }
            None => refused(404, "ResourceNotFound", "The Resource was not found."),
        }
    }

    fn logs(&self, name: &str, asked: &Asked) -> Reply {
        let Some(group) = self.groups.get(name) else {
            return refused(404, "ResourceNotFound", "The Resource was not found.");
        };
        let tail = asked
            .query
            .get("tail")
            .and_then(|text| text.parse::<usize>().ok())
            .unwrap_or(usize::MAX);
        let stamped = asked
            .query
            .get("timestamps")
            .is_some_and(|text| text == "true");
        let lines = group
            .logs
            .iter()
            .skip(group.logs.len().saturating_sub(tail));
        let lines: Vec<String> = lines
            .map(|(time, text)| {
                if stamped {
                    format!("{time} {text}\n")
                } else {
                    format!("{text}\n")
                }
            })
            .collect();
        Reply::json(200, json!({"content": lines.concat()}))
    }

    fn shown(&self, name: &str, group: &ContainerGroup, now: u64, whole: bool) -> Value {
        let mut shown = group.body.clone();
        shown["name"] = name.into();
        shown["id"] =
            format!("/subscriptions/{SUBSCRIPTION}/resourceGroups/{GROUP}/providers/Microsoft.ContainerInstance/containerGroups/{name}")
                .into();
        shown["type"] = "Microsoft.ContainerInstance/containerGroups".into();
        let up = now >= group.created_at + self.boot;
        let state = if group.deleted_at.is_some() {
            "Deleting"
        } else if up {
            "Succeeded"
        } else {
            "Creating"
        };
        shown["properties"]["provisioningState"] = state.into();
        if up && shown["properties"]["ipAddress"].is_object() {
            shown["properties"]["ipAddress"]["ip"] = "127.0.0.1".into();
        }
        for container in shown["properties"]["containers"]
            .as_array_mut()
            .into_iter()
            .flatten()
        {
            // Values of secrets are taken and never given.
            for variable in container["properties"]["environmentVariables"]
                .as_array_mut()
                .into_iter()
                .flatten()
            {
                variable
                    .as_object_mut()
                    .map(|variable| variable.remove("secureValue"));
            }
            if whole && up {
                container["properties"]["instanceView"] = view(group);
            }
        }
        if whole {
            let state = if group.stopped {
                "Stopped"
            } else if up {
                "Running"
            } else {
                "Pending"
            };
            shown["properties"]["instanceView"] = json!({"events": [], "state": state});
        }
        shown
    }
}

fn view(group: &ContainerGroup) -> Value {
    let current = match (group.exit_code, group.stopped) {
        (Some(code), _) => json!({
            "state": "Terminated", "startTime": "2026-01-01T00:00:00Z", "finishTime": "2026-01-01T00:00:05Z",
            "exitCode": code, "detailStatus": if code == 0 { "Completed" } else { "Error" },
        }),
        (None, true) => {
            json!({"state": "Terminated", "startTime": "2026-01-01T00:00:00Z", "exitCode": 137, "detailStatus": "Killed"})
        }
        (None, false) => {
            json!({"state": "Running", "startTime": "2026-01-01T00:00:00Z", "detailStatus": ""})
        }
    };
    json!({"restartCount": group.restarts, "currentState": current, "events": []})
}

/// Holds a container group against the published description: what is required, and that nothing else is there.
fn valid(name: &str, body: &Value) -> Result<(), String> {
    let named = (1..=63).contains(&name.len())
        && name
            .bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
    if !named || name.ends_with('-') {
        return Err(format!("the name {name} is not valid"));
    }
    let keys = |value: &Value, at: &str, known: &[&str], required: &[&str]| {
        let object = value
            .as_object()
            .ok_or_else(|| format!("{at} is no object"))?;
        if let Some(key) = object.keys().find(|key| !known.contains(&key.as_str())) {
            return Err(format!("{at} has an unknown property {key}"));
        }
        required
            .iter()
            .find(|key| value[**key].is_null())
            .map_or(Ok(()), |key| Err(format!("{at} lacks {key}")))
    };
    keys(
        body,
        "the group",
        &["location", "tags", "properties"],
        &["location", "properties"],
    )?;
    for (key, value) in body["tags"].as_object().into_iter().flatten() {
        if key.contains(['<', '>', '%', '&', '\\', '?', '/']) || !value.is_string() {
            return Err(format!("the tag {key} is not valid"));
        }
    }
    let properties = &body["properties"];
    let known = [
        "containers",
        "osType",
        "restartPolicy",
        "ipAddress",
        "subnetIds",
        "imageRegistryCredentials",
    ];
    keys(properties, "properties", &known, &["containers", "osType"])?;
    if !["Always", "OnFailure", "Never"]
        .contains(&properties["restartPolicy"].as_str().unwrap_or_default())
    {
        return Err("restartPolicy is not valid".to_owned());
    }
    if properties["ipAddress"].is_object() {
        keys(
            &properties["ipAddress"],
            "ipAddress",
            &["ports", "type", "dnsNameLabel"],
            &["ports", "type"],
        )?;
    }
    for container in properties["containers"]
        .as_array()
        .ok_or("containers is no array")?
    {
        keys(
            container,
            "container",
            &["name", "properties"],
            &["name", "properties"],
        )?;
        let known = [
            "image",
            "command",
            "ports",
            "environmentVariables",
            "resources",
            "livenessProbe",
            "readinessProbe",
            "volumeMounts",
        ];
        keys(
            &container["properties"],
            "container.properties",
            &known,
            &["image", "resources"],
        )?;
        let requests = &container["properties"]["resources"]["requests"];
        if !requests["cpu"].is_number() || !requests["memoryInGB"].is_number() {
            return Err("resources.requests lacks numbers".to_owned());
        }
        for variable in container["properties"]["environmentVariables"]
            .as_array()
            .into_iter()
            .flatten()
        {
            keys(
                variable,
                "environmentVariable",
                &["name", "value", "secureValue"],
                &["name"],
            )?;
        }
    }
    Ok(())
}
