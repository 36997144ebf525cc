//! The provider natively: what is sent, how often is asked, and what the API's answers mean.

use std::{cell::RefCell, collections::BTreeMap, rc::Rc};

use serde_json::{Value, json};
use tradewind_plugin_sdk::{
    ErrorKind,
    fleet::{Cloud, Stage},
    host::{HttpRequest, HttpResponse},
    provider::write_state,
    testing::{self, Clock, Web, allocation, port},
    types::{Allocation, Destroyed, Entry, Phase},
};

use super::{machine::Machine, *};

const URL: &str = "https://compute.test/compute/v1";

/// A project: instances by name, operations by request id, and whether there is room.
#[derive(Default)]
struct Project {
    machines: BTreeMap<String, Value>,
    asked: BTreeMap<String, Value>,
    full: bool,
    /// Names of instances that are being deleted are taken, though there is nothing of that name to see.
    deleting: bool,
    /// Jobs' machines have left no status.
    silent: bool,
    /// The operations that are on record of any machine.
    stopped: Vec<&'static str>,
    page: usize,
}

struct World {
    project: Rc<RefCell<Project>>,
    web: Web,
}

fn world() -> World {
    let project = Rc::new(RefCell::new(Project {
        page: 100,
        ..Project::default()
    }));
    let behind = project.clone();
    let web = Web::new(Clock::at(1_800_000_000_000), move |request, _| {
        Ok(behind.borrow_mut().answer(request))
    });
    World { project, web }
}

impl Project {
    fn answer(&mut self, request: &HttpRequest) -> HttpResponse {
        assert_eq!(
            request.credential.as_deref(),
            Some("google"),
            "every request is signed by the host"
        );
        let target = request.url.strip_prefix(URL).unwrap();
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let parts: Vec<&str> = path.split('/').skip(3).collect();
        let reply = |status, body: Value| HttpResponse {
            status,
            headers: Vec::new(),
            body: body.to_string().into_bytes(),
        };
        let refused = |status, reason: &str| {
            reply(
                status,
                json!({"error": {"message": "no", "errors": [{"reason": reason}]}}),
            )
        };
        match (request.method.as_str(), parts.as_slice()) {
            ("GET", ["aggregated", "instances"]) => {
                let skip = query
                    .split_once("pageToken=")
                    .map_or(0, |(_, token)| token.parse::<usize>().unwrap());
                let filter = query
                    .split_once("filter=labels.")
                    .unwrap()
                    .1
                    .split('&')
                    .next()
                    .unwrap()
                    .replace("%3D", "=");
                let (label, value) = filter.split_once('=').unwrap();
                let all: Vec<&Value> = self
                    .machines
                    .values()
                    .filter(|machine| machine["labels"][label] == value)
                    .collect();
                let page: Vec<&Value> = all.iter().skip(skip).take(self.page).copied().collect();
                let next = (all.len() > skip + self.page).then(|| (skip + self.page).to_string());
                reply(
                    200,
                    json!({"items": {"zones/z": {"instances": page}, "zones/y": {"warning": {}}}, "nextPageToken": next}),
                )
            }
            ("POST", ["zones", zone, "instances"]) => {
                let id = query.strip_prefix("requestId=").unwrap().to_owned();
                let mut body: Value = serde_json::from_slice(&request.body).unwrap();
                if let Some(operation) = self.asked.get(&id) {
                    return reply(200, operation.clone());
                }
                let name = body["name"].as_str().unwrap().to_owned();
                if self.deleting || self.machines.contains_key(&name) {
                    return refused(409, "alreadyExists");
                }
                let error = json!({"errors": [{"code": "ZONE_RESOURCE_POOL_EXHAUSTED", "message": "no room"}]});
                if !self.full {
                    body["status"] = "RUNNING".into();
                    body["zone"] = format!("https://x/zones/{zone}").into();
                    self.machines.insert(name, body);
                }
                let done = json!({"name": "op", "status": "DONE", "error": if self.full { error } else { Value::Null }});
                self.asked.insert(id, done);
                reply(200, json!({"name": "op", "status": "RUNNING"}))
            }
            ("POST", ["zones", _, "operations", "op", "wait"]) => {
                reply(200, self.asked.values().last().unwrap().clone())
            }
            ("GET", ["zones", _, "instances", name]) => match self.machines.get(*name) {
                Some(machine) => reply(200, machine.clone()),
                None => refused(404, "notFound"),
            },
            ("DELETE", ["zones", _, "instances", name]) => match self.machines.remove(*name) {
                Some(_) => reply(200, json!({"name": "op", "status": "RUNNING"})),
                None => refused(404, "notFound"),
            },
            ("GET", ["zones", _, "operations"]) => {
                assert_eq!(query, "filter=targetId%3D4711");
                reply(
                    200,
                    json!({"items": self.stopped.iter().map(|kind| json!({"operationType": kind})).collect::<Vec<_>>()}),
                )
            }
            ("GET", ["zones", _, "instances", _, "getGuestAttributes"]) if self.silent => {
                refused(404, "notFound")
            }
            ("GET", ["zones", _, "instances", _, "getGuestAttributes"]) => reply(
                200,
                json!({"queryValue": {"items": [{"namespace": "tradewind", "key": "exit", "value": "5"}]}}),
            ),
            other => panic!("{other:?}"),
        }
    }
}

impl World {
    fn gcp(&self) -> Fleet<Gcp<Web>> {
        let settings = json!({"project": "p", "zones": ["us-central1-a"], "url": URL});
        let context = Context {
            instance: "cloud".to_owned(),
            deadline: 30_000,
        };
        Fleet::on(
            self.web.clone(),
            context,
            serde_json::from_value(settings).unwrap(),
        )
        .unwrap()
    }

    fn apply(&self, wanted: &Allocation, prior: Option<&State>) -> Result<State, Error> {
        self.gcp().make_so(wanted, prior.cloned())
    }
}

fn wanted(id: &str, replicas: u32) -> Allocation {
    let mut wanted = allocation(id, "us-central1-a/e2-small", replicas);
    (wanted.offer.region, wanted.offer.zone, wanted.offer.size) = (
        "us-central1".to_owned(),
        "us-central1-a".to_owned(),
        "e2-small".to_owned(),
    );
    wanted.workload.image = Some("shop:1".to_owned());
    wanted.token = format!("{id}-0");
    let tag = |key: &str, value: &str| Entry {
        key: format!("tradewind.dev/{key}"),
        value: value.to_owned(),
    };
    wanted.tags = vec![tag("allocation", id), tag("provider", "cloud")];
    wanted
}

#[test]
fn a_name_that_is_not_free_yet_is_asked_for_again() {
    let world = world();
    world.project.borrow_mut().deleting = true;
    let error = world.apply(&wanted("a", 1), None).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Unavailable, "{error:?}");
    world.project.borrow_mut().deleting = false;
    world.apply(&wanted("a", 1), None).unwrap();
    assert_eq!(world.project.borrow().machines.len(), 1);
}

#[test]
fn an_instance_is_what_the_workload_and_the_settings_say() {
    let world = world();
    let mut web = wanted("a", 1);
    web.workload.ports = vec![port("http")];
    world.apply(&web, None).unwrap();
    let machine = world
        .project
        .borrow()
        .machines
        .values()
        .next()
        .cloned()
        .unwrap();
    assert_eq!(
        machine["machineType"],
        "zones/us-central1-a/machineTypes/e2-small"
    );
    let parameters = json!({
        "sourceImage": "projects/cos-cloud/global/images/family/cos-stable",
        "diskSizeGb": "10",
        "diskType": "zones/us-central1-a/diskTypes/pd-balanced",
    });
    assert_eq!(
        machine["disks"],
        json!([{"boot": true, "autoDelete": true, "initializeParams": parameters}])
    );
    let access = json!([{"type": "ONE_TO_ONE_NAT", "name": "External NAT"}]);
    assert_eq!(
        machine["networkInterfaces"],
        json!([{"network": "projects/p/global/networks/default", "accessConfigs": access}])
    );
    assert_eq!(
        (
            &machine["labels"]["tradewind-allocation"],
            &machine["labels"]["tradewind-run"]
        ),
        (&json!("a"), &json!("service"))
    );
    let script = machine["metadata"]["items"][0]["value"].as_str().unwrap();
    assert!(
        script.contains("--dport 8080") && script.contains("--env 'PORT=8080'"),
        "{script}"
    );
}

#[test]
fn the_same_request_has_the_same_id_and_what_has_vanished_gets_another() {
    let world = world();
    let web = wanted("a", 2);
    let state = world.apply(&web, None).unwrap();
    let ids: Vec<String> = world.project.borrow().asked.keys().cloned().collect();
    assert!(
        ids.len() == 2
            && ids
                .iter()
                .all(|id| id.len() == 36 && id.as_bytes()[14] == b'4'),
        "{ids:?}"
    );
    assert_eq!(world.apply(&web, None).unwrap().members.len(), 2);
    assert_eq!(
        world.project.borrow().asked.len(),
        2,
        "nothing was asked for twice"
    );
    let name = state.members[1].id.split_once('/').unwrap().1.to_owned();
    world.project.borrow_mut().machines.remove(&name);
    let state = world.apply(&web, Some(&state)).unwrap();
    assert_eq!(
        (world.project.borrow().machines.len(), state.members[1].turn),
        (2, 2)
    );
    assert_eq!(world.gcp().remove("a", &state).unwrap(), Destroyed::Going);
    assert_eq!(world.gcp().remove("a", &state).unwrap(), Destroyed::Gone);
}

#[test]
fn a_zone_without_room_says_so_in_its_operation_and_nothing_is_left() {
    let world = world();
    world.project.borrow_mut().full = true;
    let error = world.apply(&wanted("a", 2), None).unwrap_err();
    assert_eq!(
        (error.kind, error.code.as_deref()),
        (
            ErrorKind::OutOfCapacity,
            Some("ZONE_RESOURCE_POOL_EXHAUSTED")
        )
    );
    assert!(world.project.borrow().machines.is_empty());
}

#[test]
fn many_allocations_are_looked_at_with_one_list() {
    let world = world();
    let all: Vec<_> = (0..20).map(|i| wanted(&format!("a{i}"), 1)).collect();
    let tracked: Vec<_> = all
        .iter()
        .map(|one| testing::tracked(one, &write_state(&world.apply(one, None).unwrap()).unwrap()))
        .collect();
    world.web.sent();
    let seen = world.gcp().look_at(&tracked).unwrap();
    assert!(seen.len() == 20 && seen.iter().all(|one| one.phase == Phase::Running));
    assert_eq!(world.web.sent().len(), 1);
    world.project.borrow_mut().page = 7;
    assert_eq!(world.gcp().look_at(&tracked).unwrap().len(), 20);
    assert_eq!(world.web.sent().len(), 3);
}

#[test]
fn a_job_s_machine_that_was_stopped_from_outside_is_made_anew() {
    let world = world();
    let mut job = wanted("a", 1);
    job.workload.run = tradewind_plugin_sdk::types::Run::Job(tradewind_plugin_sdk::types::Job {
        retries: 0,
        deadline: None,
    });
    job.workload.ports = Vec::new();
    let state = world.apply(&job, None).unwrap();
    let tracked = [testing::tracked(
        &job,
        &tradewind_plugin_sdk::provider::write_state(&state).unwrap(),
    )];
    for machine in world.project.borrow_mut().machines.values_mut() {
        machine["status"] = "TERMINATED".into();
        machine["id"] = "4711".into();
        machine["lastStartTimestamp"] = "2026-01-01T00:00:00.000Z".into();
    }
    world.project.borrow_mut().silent = true;
    let observed = || {
        world
            .gcp()
            .look_at(&tracked)
            .unwrap()
            .remove(0)
            .replicas
            .remove(0)
    };
    for (operations, lost) in [
        (vec!["insert", "compute.instances.guestTerminate"], false),
        (vec!["insert", "compute.instances.preempted"], true),
        (vec!["stop"], true),
    ] {
        world.project.borrow_mut().stopped = operations;
        let seen = observed();
        // What has not begun and has no status is not an end.
        assert_eq!(
            (seen.phase, seen.started_at.is_none()),
            (Phase::Failed, lost),
            "{seen:?}"
        );
        assert_eq!(seen.message.starts_with("lost"), lost);
    }
    world.apply(&job, Some(&state)).unwrap();
    assert_eq!(
        world.project.borrow().machines.values().next().unwrap()["status"],
        "RUNNING"
    );
}

#[test]
fn what_the_api_shows_of_an_instance_is_understood() {
    for (status, run, stage) in [
        ("PROVISIONING", "service", Stage::Creating),
        ("STAGING", "service", Stage::Creating),
        ("RUNNING", "service", Stage::Running),
        ("STOPPING", "service", Stage::Deleting),
        ("STOPPING", "job", Stage::Running),
        ("TERMINATED", "job", Stage::Exited),
        ("TERMINATED", "service", Stage::Failed),
        ("SUSPENDED", "service", Stage::Failed),
    ] {
        let shown = json!({
            "name": "m", "zone": "https://x/zones/us-central1-a", "status": status, "labels": {"tradewind-run": run},
            "creationTimestamp": "2026-01-01T00:00:00.000-08:00",
            "networkInterfaces": [{"networkIP": "10.0.0.2", "accessConfigs": [{"natIP": "1.2.3.4"}]}],
        });
        let machine: Machine = serde_json::from_value(shown).unwrap();
        let instance = machine.instance(None);
        assert_eq!(
            (instance.stage, instance.id.as_str()),
            (stage, "us-central1-a/m"),
            "{status} {run}"
        );
        assert_eq!(
            (instance.address.as_deref(), instance.created_at),
            (Some("1.2.3.4"), 1_767_254_400_000)
        );
    }
}

#[test]
fn what_this_cloud_can_not_do_is_refused_by_its_field() {
    let world = world();
    let mut web = wanted("a", 1);
    web.workload.image = None;
    let error = world.gcp().cloud().describe(&web).map(|_| ()).unwrap_err();
    assert_eq!(
        (error.kind, error.field.as_deref()),
        (ErrorKind::Invalid, Some("workload.image"))
    );
    let mut large = wanted("a", 1);
    large.workload.command = vec!["run".to_owned(), "x".repeat(300_000)];
    let error = world
        .gcp()
        .cloud()
        .describe(&large)
        .map(|_| ())
        .unwrap_err();
    assert_eq!(
        (error.kind, error.field.as_deref()),
        (ErrorKind::Invalid, Some("workload.command"))
    );
    assert!(error.message.contains("262144"), "{}", error.message);
    web.offer.zone = "mars-north1-a".to_owned();
    assert_eq!(
        world
            .gcp()
            .cloud()
            .place(&web.offer)
            .unwrap_err()
            .field
            .as_deref(),
        Some("offer.zone")
    );
    assert!(world.web.sent().is_empty());
}
