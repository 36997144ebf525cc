//! Plays the kubelet and the scheduler of a cluster without machines: a node that is ready, pods that are bound to it where it has room, run as soon
//! as they are bound, write a line, end when they are jobs', and go when they are told to. An image that begins with `missing/` can't be pulled; a job's
//! that begins with `waits/` ends when its pod bears the annotation `example.com/ends`.

mod logs;
mod sessions;

use std::{
    collections::BTreeMap,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::JoinHandle,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use anyhow::{Result, ensure};
use reqwest::{Client, Method};
use serde_json::{Value, json};

use crate::{eventually, when};

const NODE: &str = "node-1";
const CORES: u64 = 16;
const GIBS: u64 = 64;
const PODS: u64 = 2_000;
/// How often it looks.
const PAUSE: Duration = Duration::from_millis(100);
/// A node that says nothing for 40 s is given up by the cluster.
const HEARTBEAT: Duration = Duration::from_secs(5);

/// Plays until it is dropped.
pub(super) struct Kubelet {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Kubelet {
    /// `folder` is where it keeps its certificate.
    pub(super) fn start(server: &str, token: &str, folder: &Path) -> Result<Self> {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let mut headers = reqwest::header::HeaderMap::new();
        headers.insert(
            reqwest::header::AUTHORIZATION,
            format!("Bearer {token}").parse()?,
        );
        let http = Client::builder()
            .no_proxy()
            .danger_accept_invalid_certs(true)
            .default_headers(headers)
            .build()?;
        let logs = logs::Logs::of(folder)?;
        let api = Api {
            http,
            server: server.to_owned(),
            port: logs.port()?,
        };
        let stop = Arc::new(AtomicBool::new(false));
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let stopped = stop.clone();
        let (told, registered) = std::sync::mpsc::channel();
        // A thread of its own: tests block theirs, and may run a runtime on it.
        let thread = std::thread::spawn(move || {
            runtime.block_on(async {
                let _served = tokio::spawn(logs.serve());
                let outcome = api.register().await;
                let works = outcome.is_ok();
                if told.send(outcome).is_ok() && works {
                    api.play(&stopped).await;
                }
            });
        });
        registered.recv()??;
        Ok(Self {
            stop,
            thread: Some(thread),
        })
    }
}

impl Drop for Kubelet {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

struct Api {
    http: Client,
    server: String,
    /// Where the API server asks for what pods have written.
    port: u16,
}

impl Api {
    async fn call(
        &self,
        method: Method,
        path: &str,
        content: &str,
        body: Option<Value>,
    ) -> Result<Value> {
        let mut request = self
            .http
            .request(method, format!("{}{path}", self.server))
            .timeout(Duration::from_secs(5));
        if let Some(body) = body {
            request = request
                .header("content-type", content)
                .body(body.to_string());
        }
        let response = request.send().await?;
        let (status, text) = (response.status(), response.text().await?);
        ensure!(status.is_success(), "{path}: {status}: {text}");
        Ok(serde_json::from_str(&text)?)
    }

    async fn patch(&self, path: &str, body: Value) -> Result<Value> {
        self.call(
            Method::PATCH,
            path,
            "application/strategic-merge-patch+json",
            Some(body),
        )
        .await
    }

    async fn register(&self) -> Result<()> {
        let labels = json!({
            "kubernetes.io/hostname": NODE,
            "topology.kubernetes.io/region": "lab",
            "topology.kubernetes.io/zone": "lab-a",
            "node.kubernetes.io/instance-type": "rack",
        });
        let node = json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": NODE, "labels": labels, "annotations": {"example.com/price": "1.6"}}});
        self.call(
            Method::POST,
            "/api/v1/nodes",
            "application/json",
            Some(node),
        )
        .await?;
        self.beat().await?;
        self.untainted().await
    }

    /// Waits until the controllers have seen that the node is ready: until then it bears a taint, and takes no pods.
    async fn untainted(&self) -> Result<()> {
        let path = format!("/api/v1/nodes/{NODE}");
        eventually("the node takes pods", async || {
            let node = self.call(Method::GET, &path, "", None).await?;
            let taints = &node["spec"]["taints"];
            let free = taints.as_array().is_none_or(Vec::is_empty);
            Ok(when(free, taints.to_string()).map(drop))
        })
        .await
    }

    /// Says that the node is well.
    async fn beat(&self) -> Result<()> {
        let has = json!({"cpu": CORES.to_string(), "memory": format!("{GIBS}Gi"), "pods": PODS.to_string(), "ephemeral-storage": "100Gi"});
        let well = json!({"type": "Ready", "status": "True", "reason": "KubeletReady", "lastHeartbeatTime": now(), "message": "played"});
        let status = json!({"status": {
            "capacity": has, "allocatable": has, "conditions": [well],
            "addresses": [{"type": "InternalIP", "address": "127.0.0.1"}],
            "daemonEndpoints": {"kubeletEndpoint": {"Port": self.port}},
        }});
        self.patch(&format!("/api/v1/nodes/{NODE}/status"), status)
            .await
            .map(drop)
    }

    async fn play(&self, stop: &AtomicBool) {
        let (mut beaten, mut looked) = (Instant::now(), None::<Instant>);
        while !stop.load(Ordering::Relaxed) {
            // The API server may be away for a while: that is what some tests are about.
            if beaten.elapsed() >= HEARTBEAT && self.beat().await.is_ok() {
                beaten = Instant::now();
            }
            if looked.is_none_or(|at| at.elapsed() >= PAUSE) {
                let _ = self.look().await;
                looked = Some(Instant::now());
            }
            // A kubelet that is played looks again and again; nobody waits for it here.
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    async fn look(&self) -> Result<()> {
        let all = self.call(Method::GET, "/api/v1/pods", "", None).await?;
        let node = self
            .call(Method::GET, &format!("/api/v1/nodes/{NODE}"), "", None)
            .await?;
        let pods = all["items"].as_array().cloned().unwrap_or_default();
        let mut free = CORES * 1000;
        free = free.saturating_sub(
            pods.iter()
                .filter(|pod| is_bound(pod) && !is_over(pod))
                .map(millicores)
                .sum(),
        );
        for pod in &pods {
            let path = path(pod);
            if !pod["metadata"]["deletionTimestamp"].is_null() {
                let now = json!({"gracePeriodSeconds": 0});
                let _ = self
                    .call(Method::DELETE, &path, "application/json", Some(now))
                    .await;
            } else if !is_bound(pod) {
                let fits = millicores(pod) <= free && selects(pod, &node);
                if fits && self.bind(&path, pod).await.is_ok() {
                    free -= millicores(pod);
                } else if !fits
                    && pod["status"]["conditions"]
                        .as_array()
                        .is_none_or(Vec::is_empty)
                {
                    let told = json!({"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/1 nodes are available: 1 Insufficient cpu."});
                    let _ = self
                        .patch(
                            &format!("{path}/status"),
                            json!({"status": {"conditions": [told]}}),
                        )
                        .await;
                }
            } else if pod["status"]["phase"] == "Pending" {
                let _ = self
                    .patch(&format!("{path}/status"), json!({"status": begun(pod)}))
                    .await;
            } else if pod["status"]["phase"] == "Running"
                && pod["spec"]["restartPolicy"] == "Never"
                && !waits(pod)
            {
                let _ = self
                    .patch(&format!("{path}/status"), json!({"status": ended(pod)}))
                    .await;
            }
        }
        Ok(())
    }

    async fn bind(&self, path: &str, pod: &Value) -> Result<()> {
        let binding = json!({
            "apiVersion": "v1", "kind": "Binding",
            "metadata": {"name": pod["metadata"]["name"], "namespace": pod["metadata"]["namespace"]},
            "target": {"apiVersion": "v1", "kind": "Node", "name": NODE},
        });
        self.call(
            Method::POST,
            &format!("{path}/binding"),
            "application/json",
            Some(binding),
        )
        .await
        .map(drop)
    }
}

fn path(pod: &Value) -> String {
    let text = |key: &str| pod["metadata"][key].as_str().unwrap_or_default().to_owned();
    format!(
        "/api/v1/namespaces/{}/pods/{}",
        text("namespace"),
        text("name")
    )
}

fn is_bound(pod: &Value) -> bool {
    pod["spec"]["nodeName"]
        .as_str()
        .is_some_and(|name| !name.is_empty())
}

fn is_over(pod: &Value) -> bool {
    pod["status"]["phase"] == "Succeeded" || pod["status"]["phase"] == "Failed"
}

/// What the pod's only container asks for.
fn millicores(pod: &Value) -> u64 {
    let text = pod["spec"]["containers"][0]["resources"]["requests"]["cpu"]
        .as_str()
        .unwrap_or("0");
    text.strip_suffix('m').map_or_else(
        || text.parse::<u64>().unwrap_or(0) * 1000,
        |milli| milli.parse().unwrap_or(0),
    )
}

fn selects(pod: &Value, node: &Value) -> bool {
    let wanted: BTreeMap<String, Value> =
        serde_json::from_value(pod["spec"]["nodeSelector"].clone()).unwrap_or_default();
    wanted
        .iter()
        .all(|(key, value)| node["metadata"]["labels"][key] == *value)
}

fn waits(pod: &Value) -> bool {
    let image = pod["spec"]["containers"][0]["image"]
        .as_str()
        .unwrap_or_default();
    image.starts_with("waits/") && pod["metadata"]["annotations"]["example.com/ends"].is_null()
}

/// The status of a pod whose container has begun, or can't.
fn begun(pod: &Value) -> Value {
    let container = &pod["spec"]["containers"][0];
    let status = |ready: bool, state: Value| json!([{"name": container["name"], "image": container["image"], "imageID": "", "ready": ready, "restartCount": 0, "state": state}]);
    if container["image"]
        .as_str()
        .is_some_and(|image| image.starts_with("missing/"))
    {
        let why = json!({"reason": "ImagePullBackOff", "message": "Back-off pulling image"});
        return json!({"phase": "Pending", "containerStatuses": status(false, json!({"waiting": why}))});
    }
    let met = ["Initialized", "ContainersReady", "Ready", "PodScheduled"];
    json!({
        "phase": "Running",
        "podIP": "10.0.0.1",
        "startTime": now(),
        "conditions": met.map(|kind| json!({"type": kind, "status": "True", "lastTransitionTime": now()})),
        "containerStatuses": status(true, json!({"running": {"startedAt": now()}})),
    })
}

fn ended(pod: &Value) -> Value {
    let container = &pod["spec"]["containers"][0];
    let end = json!({"terminated": {"exitCode": 0, "reason": "Completed", "startedAt": now(), "finishedAt": now()}});
    json!({
        "phase": "Succeeded",
        "containerStatuses": [{"name": container["name"], "image": container["image"], "imageID": "", "ready": false, "restartCount": 0, "state": end}],
        "conditions": [{"type": "Ready", "status": "False", "reason": "PodCompleted"}],
    })
}

/// The time, as the API writes it.
fn now() -> String {
    let seconds = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |d| d.as_secs());
    let (days, rest) = (seconds / 86_400, seconds % 86_400);
    // Years that begin in March, from the year 0 on.
    let shifted = days + 719_468;
    let (era, of_era) = (shifted / 146_097, shifted % 146_097);
    let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let day_of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month + 2) / 5 + 1;
    let (month, carry) = if month < 10 {
        (month + 3, 0)
    } else {
        (month - 9, 1)
    };
    let year = year_of_era + era * 400 + carry;
    format!(
        "{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}Z",
        rest / 3600,
        rest % 3600 / 60,
        rest % 60
    )
}
