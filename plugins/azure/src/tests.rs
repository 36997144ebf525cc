//! The provider natively: what is sent, how often is asked, and what the API's answers mean.

use std::{cell::RefCell, collections::BTreeMap, rc::Rc};

use serde_json::{Value, json};
use tradewind_plugin_sdk::{
    ErrorKind, Provider,
    fleet::{Cloud, Stage},
    host::{HttpRequest, HttpResponse},
    provider::write_state,
    testing::{self, Clock, Web, allocation, port},
    types::{
        Allocation, Check, Destroyed, Entry, EnvValue, EnvVar, Exposure, HttpCheck, Job, Phase,
        Probe, Run, SecretRef,
    },
};

use super::{group::Group, *};

const URL: &str = "https://management.test";
const GROUPS: &str =
    "/subscriptions/s/resourceGroups/shop/providers/Microsoft.ContainerInstance/containerGroups";

/// Container groups by name, as they were sent.
type Table = Rc<RefCell<BTreeMap<String, Value>>>;

struct World {
    table: Table,
    clock: Clock,
    web: Web,
}

fn world() -> World {
    let (table, clock) = (Table::default(), Clock::at(1_000_000));
    let behind = table.clone();
    let web = Web::new(clock.clone(), move |request, _| {
        Ok(answer(&mut behind.borrow_mut(), request))
    });
    World { table, clock, web }
}

/// As much of the resource manager as a provider's calls need: pages of two, no instance view in lists.
fn answer(table: &mut BTreeMap<String, Value>, request: &HttpRequest) -> HttpResponse {
    assert_eq!(
        request.credential.as_deref(),
        Some("azure"),
        "every request is signed by the host"
    );
    let (path, query) = request
        .url
        .strip_prefix(URL)
        .unwrap()
        .split_once('?')
        .unwrap();
    assert!(query.starts_with("api-version="), "{query}");
    let reply = |status, body: Value| HttpResponse {
        status,
        headers: Vec::new(),
        body: body.to_string().into_bytes(),
    };
    let absent = || {
        reply(
            404,
            json!({"error": {"code": "ResourceNotFound", "message": "not found"}}),
        )
    };
    let name = path
        .strip_prefix(GROUPS)
        .map(|name| name.trim_start_matches('/').to_owned());
    match (request.method.as_str(), name.as_deref()) {
        ("GET", Some("")) => {
            let skip = query
                .split_once("skip=")
                .map_or(0, |(_, skip)| skip.parse::<usize>().unwrap());
            let mut listed: Vec<Value> = table.values().skip(skip).take(2).cloned().collect();
            listed.iter_mut().for_each(|group| {
                drop(
                    group["properties"]
                        .as_object_mut()
                        .unwrap()
                        .remove("instanceView"),
                )
            });
            let next = (table.len() > skip + 2)
                .then(|| format!("{URL}{GROUPS}?api-version=x&skip={}", skip + 2));
            reply(200, json!({"value": listed, "nextLink": next}))
        }
        ("GET", Some(name)) => table
            .get(name)
            .map_or_else(absent, |group| reply(200, group.clone())),
        ("PUT", Some(name)) => {
            let mut group: Value = serde_json::from_slice(&request.body).unwrap();
            group["name"] = name.into();
            group["properties"]["provisioningState"] = "Succeeded".into();
            table.insert(name.to_owned(), group.clone());
            reply(201, group)
        }
        ("DELETE", Some(name)) => {
            table.remove(name);
            reply(200, Value::Null)
        }
        other => panic!("{other:?}"),
    }
}

impl World {
    fn azure(&self) -> Fleet<Azure<Web>> {
        let settings = json!({"subscription": "s", "resource-group": "shop", "locations": ["eastus"], "url": URL});
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
        self.azure().make_so(wanted, prior.cloned())
    }
}

fn wanted(id: &str, replicas: u32) -> Allocation {
    let mut wanted = allocation(id, "eastus", replicas);
    wanted.offer.region = "eastus".to_owned();
    wanted.workload.image = Some("shop:1".to_owned());
    let tag = |key: &str, value: &str| Entry {
        key: format!("tradewind.dev/{key}"),
        value: value.to_owned(),
    };
    wanted.tags = vec![tag("allocation", id), tag("provider", "cloud")];
    wanted
}

#[test]
fn a_group_is_what_the_workload_says() {
    let world = world();
    let mut web = wanted("a", 1);
    web.workload.ports = vec![port("http"), port("metrics")];
    web.workload.ports[0].number = 8080;
    web.workload.ports[1].exposure = Exposure::Local;
    let secret = SecretRef {
        name: "db".to_owned(),
        key: Some("password".to_owned()),
    };
    web.workload.env = vec![
        EnvVar {
            name: "A".to_owned(),
            value: EnvValue::Text("1".to_owned()),
        },
        EnvVar {
            name: "B".to_owned(),
            value: EnvValue::Secret(secret),
        },
    ];
    (web.workload.resources.cpu, web.workload.resources.memory) = (1255, 1_600_000_000);
    world.apply(&web, None).unwrap();
    let group = world.table.borrow().values().next().cloned().unwrap();
    let container = &group["properties"]["containers"][0]["properties"];
    let variables = json!([
        {"name": "A", "value": "1"},
        {"name": "B", "secureValue": "{{secret:db/password}}"},
        {"name": "PORT", "value": "8080"},
        {"name": "PORT_HTTP", "value": "8080"},
        {"name": "PORT_METRICS", "value": "8081"},
    ]);
    assert_eq!(container["environmentVariables"], variables);
    assert_eq!(
        container["resources"]["requests"],
        json!({"cpu": 1.26, "memoryInGB": 1.5})
    );
    assert_eq!(container["command"], json!(["sleep", "1000"]));
    assert_eq!(
        group["properties"]["ipAddress"],
        json!({"type": "Public", "ports": [{"port": 8080, "protocol": "TCP"}]})
    );
    assert_eq!(
        (&group["location"], &group["properties"]["restartPolicy"]),
        (&json!("eastus"), &json!("Always"))
    );
    assert_eq!(group["tags"]["tradewind-allocation"], "a");
}

#[test]
fn repeated_or_half_done_everything_ends_the_same() {
    let world = world();
    let mut web = wanted("a", 3);
    let state = world.apply(&web, None).unwrap();
    let names: Vec<String> = world.table.borrow().keys().cloned().collect();
    assert_eq!(
        world.apply(&web, None).unwrap().members.len(),
        3,
        "though nothing was known of the first time"
    );
    world.table.borrow_mut().remove(&names[1]);
    let state = world.apply(&web, Some(&state)).unwrap();
    assert_eq!(
        world.table.borrow().keys().cloned().collect::<Vec<_>>(),
        names
    );
    web.workload.command = vec!["other".to_owned()];
    let state = world.apply(&web, Some(&state)).unwrap();
    assert!(
        world.table.borrow().len() == 3
            && names
                .iter()
                .all(|name| !world.table.borrow().contains_key(name)),
        "replaced"
    );
    assert_eq!(world.azure().everything().unwrap().len(), 1);
    assert_eq!(world.azure().remove("a", &state).unwrap(), Destroyed::Gone);
    assert!(world.table.borrow().is_empty());
}

#[test]
fn one_list_tells_of_all_services_and_only_jobs_are_asked_about() {
    let world = world();
    let all: Vec<Allocation> = (0..10).map(|i| wanted(&format!("a{i}"), 1)).collect();
    let tracked: Vec<_> = all
        .iter()
        .map(|one| testing::tracked(one, &write_state(&world.apply(one, None).unwrap()).unwrap()))
        .collect();
    world.web.sent();
    let seen = world.azure().look_at(&tracked).unwrap();
    assert!(
        seen.len() == 10 && seen.iter().all(|one| one.phase == Phase::Running),
        "{seen:?}"
    );
    assert_eq!(world.web.sent().len(), 5, "five pages of two");
    let mut job = wanted("job", 1);
    job.workload.run = Run::Job(Job {
        retries: 0,
        deadline: None,
    });
    let state = world.apply(&job, None).unwrap();
    let view = json!({"restartCount": 0, "currentState": {"state": "Terminated", "exitCode": 3, "detailStatus": "Error"}});
    for group in world
        .table
        .borrow_mut()
        .values_mut()
        .filter(|group| group["tags"]["tradewind-allocation"] == "job")
    {
        group["properties"]["instanceView"] = json!({"state": "Failed"});
        group["properties"]["containers"][0]["properties"]["instanceView"] = view.clone();
    }
    world.web.sent();
    let tracked = [testing::tracked(&job, &write_state(&state).unwrap())];
    let seen = &world.azure().look_at(&tracked).unwrap()[0];
    assert_eq!(
        (seen.phase, seen.replicas[0].exit_code),
        (Phase::Failed, Some(3))
    );
    assert_eq!(world.web.sent().len(), 7, "six pages, one job");
    world.clock.advance(1);
}

#[test]
fn what_the_api_shows_of_a_group_is_understood() {
    let shown = |policy: &str, state: &str, container: Value, group: &str| -> Group {
        serde_json::from_value(json!({
            "name": "g",
            "tags": {"tradewind-retries": "1", "tradewind-created": "5"},
            "properties": {
                "provisioningState": state,
                "restartPolicy": policy,
                "instanceView": {"state": group, "events": [{"name": "Failed", "type": "Warning", "message": "no such image"}]},
                "containers": [{"properties": {"instanceView": container}}],
            },
        }))
        .unwrap()
    };
    let ended = |code: i32, restarts: u32| json!({"restartCount": restarts, "currentState": {"state": "Terminated", "exitCode": code}});
    let again = json!({"restartCount": 2, "currentState": {"state": "Running"}, "previousState": {"state": "Terminated", "exitCode": 4}});
    for (policy, state, container, group, stage, code) in [
        (
            "Always",
            "Creating",
            json!({}),
            "Pending",
            Stage::Creating,
            None,
        ),
        ("Always", "Failed", json!({}), "Failed", Stage::Failed, None),
        (
            "Never",
            "Succeeded",
            json!({"currentState": {"state": "Running"}}),
            "Running",
            Stage::Running,
            None,
        ),
        (
            "Never",
            "Succeeded",
            ended(0, 0),
            "Succeeded",
            Stage::Exited,
            Some(0),
        ),
        (
            "Never",
            "Succeeded",
            ended(3, 0),
            "Failed",
            Stage::Exited,
            Some(3),
        ),
        (
            "OnFailure",
            "Succeeded",
            ended(0, 1),
            "Succeeded",
            Stage::Exited,
            Some(0),
        ),
        // One retry is left: it is started again.
        (
            "OnFailure",
            "Succeeded",
            ended(3, 1),
            "Running",
            Stage::Creating,
            None,
        ),
        // It was started again more often than asked for.
        (
            "OnFailure",
            "Succeeded",
            again,
            "Running",
            Stage::Exited,
            Some(4),
        ),
        (
            "Always",
            "Deleting",
            json!({"currentState": {"state": "Running"}}),
            "Running",
            Stage::Deleting,
            None,
        ),
    ] {
        let told = format!("{policy} {state} {container} {group}");
        let instance = shown(policy, state, container, group).instance(9);
        assert_eq!(
            (instance.stage, instance.exit_code, instance.created_at),
            (stage, code, 5),
            "{told}"
        );
        assert_eq!(
            instance.message.contains("no such image"),
            matches!(stage, Stage::Creating | Stage::Failed),
            "{told}"
        );
    }
}

#[test]
fn a_deadline_is_of_all_attempts_together() {
    let group = |state: &str, restarts: u32| -> Group {
        let view = json!({"restartCount": restarts, "currentState": {"state": state, "startTime": "1970-01-01T00:00:50Z"}});
        serde_json::from_value(json!({
            "name": "g",
            "tags": {"tradewind-retries": "9", "tradewind-deadline": "60000", "tradewind-created": "1000"},
            "properties": {"restartPolicy": "OnFailure", "containers": [{"properties": {"instanceView": view}}]},
        }))
        .unwrap()
    };
    for (state, restarts, now, overdue) in [
        ("Running", 0, 109_000, false),
        ("Running", 0, 111_000, true),
        ("Running", 3, 60_000, false),
        ("Running", 3, 62_000, true),
        ("Waiting", 3, 62_000, true),
        ("Terminated", 3, 62_000, false),
    ] {
        assert_eq!(
            group(state, restarts).is_overdue(now),
            overdue,
            "{state} {restarts} {now}"
        );
    }
}

#[test]
fn a_slow_start_has_its_time_before_the_platform_looks_whether_it_lives() {
    let world = world();
    let probe = |path: &str, interval: u64, failures: u32| {
        let http = HttpCheck {
            port: "http".to_owned(),
            path: path.to_owned(),
            headers: vec![],
            status_min: 200,
            status_max: 399,
        };
        Some(Probe {
            check: Check::Http(http),
            initial_delay: 1000,
            interval,
            timeout: 500,
            healthy_after: 1,
            unhealthy_after: failures,
        })
    };
    let mut web = wanted("a", 1);
    web.workload.probes.liveness = probe("/alive", 1000, 3);
    world.apply(&web, None).unwrap();
    let container = |of: &str| {
        let table = world.table.borrow();
        let group = table
            .values()
            .find(|group| group["tags"]["tradewind-allocation"] == of)
            .unwrap();
        group["properties"]["containers"][0]["properties"].clone()
    };
    assert_eq!(
        container("a")["livenessProbe"]["initialDelaySeconds"],
        json!(301)
    );
    let mut slow = wanted("b", 1);
    slow.workload.probes.liveness = probe("/alive", 1000, 3);
    slow.workload.probes.startup = probe("/started", 2000, 60);
    world.apply(&slow, None).unwrap();
    assert_eq!(
        container("b")["livenessProbe"]["initialDelaySeconds"],
        json!(122)
    );
    assert_eq!(
        container("b")["readinessProbe"]["httpGet"]["path"],
        json!("/started")
    );
}

#[test]
fn what_this_cloud_can_not_do_is_refused_by_its_field() {
    let world = world();
    let azure = world.azure();
    let refused = |change: fn(&mut Allocation)| {
        let mut web = wanted("a", 1);
        change(&mut web);
        let error = azure.cloud().describe(&web).map(|_| ()).unwrap_err();
        assert_eq!(error.kind, ErrorKind::Invalid, "{error}");
        error.field.unwrap_or_default()
    };
    assert_eq!(refused(|web| web.workload.image = None), "workload.image");
    assert_eq!(
        refused(|web| web.workload.user = "1".to_owned()),
        "workload.user"
    );
    assert_eq!(
        refused(
            |web| (web.workload.command, web.workload.arguments) = (vec![], vec!["x".to_owned()])
        ),
        "workload.arguments"
    );
    assert_eq!(
        refused(|web| {
            web.workload.ports = vec![port("http")];
            web.workload.ports[0].exposure = Exposure::Internal;
        }),
        "workload.ports"
    );
    assert_eq!(
        refused(|web| {
            web.workload.ports = vec![port("http")];
            (
                web.workload.ports[0].number,
                web.workload.ports[0].published,
            ) = (8080, Some(80));
        }),
        "workload.ports[0].published"
    );
    assert_eq!(
        refused(|web| web.workload.env = vec![EnvVar {
            name: "A".to_owned(),
            value: EnvValue::Text("{{secret:x}}".to_owned())
        }]),
        "workload.env[0]"
    );
    let nowhere: Settings = serde_json::from_value(
        json!({"subscription": "s", "resource-group": "shop", "locations": ["moon"]}),
    )
    .unwrap();
    assert!(
        nowhere
            .check()
            .unwrap_err()
            .remedy
            .unwrap()
            .contains("[settings.prices.moon]")
    );
}

#[test]
fn offers_are_of_the_table_with_its_date() {
    let query = OffersQuery {
        regions: vec![],
        shapes: vec![],
        spot: false,
        holding: vec![],
    };
    let offers = world().azure().offers(&query).unwrap();
    assert_eq!(
        (
            offers.len(),
            offers[0].price,
            offers[0].memory_price,
            offers[0].shared
        ),
        (1, 40_500, 4450, true)
    );
    assert!(
        offers[0].source.ends_with("2025-06-01") && offers[0].quoted_at == Some(1_748_736_000_000),
        "{offers:?}"
    );
}

#[test]
fn output_goes_on_behind_its_last_line() {
    let lines = Rc::new(RefCell::new(
        "2026-01-01T00:00:01.1Z one\n2026-01-01T00:00:02.2Z two\n".to_owned(),
    ));
    let content = lines.clone();
    let web = Web::new(Clock::default(), move |_, _| {
        let body = json!({"content": *content.borrow()})
            .to_string()
            .into_bytes();
        Ok(HttpResponse {
            status: 200,
            headers: Vec::new(),
            body,
        })
    });
    let world = World {
        table: Table::default(),
        clock: Clock::default(),
        web,
    };
    let member =
        json!({"index": 0, "id": "g", "token": "", "turn": 1, "created_at": 0, "since": 0});
    let state = json!({"version": 1, "region": "shop", "spec": "", "token": "", "replicas": 1, "members": [member]});
    let state: State = serde_json::from_value(state).unwrap();
    let read = |after: Option<String>| {
        world
            .azure()
            .cloud()
            .logs(
                &state,
                &LogQuery {
                    replica: None,
                    tail: 1,
                    after,
                },
            )
            .unwrap()
    };
    let first = read(None);
    assert_eq!(
        (
            first.lines.len(),
            first.lines[0].text.as_str(),
            first.lines[0].time
        ),
        (1, "two", Some(1_767_225_602_200))
    );
    assert!(read(first.next.clone()).lines.is_empty());
    lines
        .borrow_mut()
        .push_str("2026-01-01T00:00:03.3Z three\n2026-01-01T00:00:04.4Z four\n");
    let more = read(first.next);
    assert_eq!(
        more.lines
            .iter()
            .map(|line| line.text.as_str())
            .collect::<Vec<_>>(),
        ["three", "four"]
    );
}
