//! The rules as a customer meets them.

use serde_json::{Value, json};

use super::*;
use crate::{Config, Lag};

fn ask(cloud: &mut Cloud, now: u64, method: &str, target: &str, body: Value) -> Answer {
    let authorization = format!("Bearer {}", cloud.config.token);
    let body = if body.is_null() {
        Vec::new()
    } else {
        body.to_string().into_bytes()
    };
    cloud.answer(
        now,
        &Request {
            method: method.to_owned(),
            target: target.to_owned(),
            authorization,
            body,
        },
    )
}

fn reply(cloud: &mut Cloud, now: u64, method: &str, target: &str, body: Value) -> (u16, Value) {
    match ask(cloud, now, method, target, body) {
        Answer::Reply(reply) => (reply.status, reply.body),
        other => panic!("{other:?}"),
    }
}

fn new(token: &str) -> Value {
    json!({"token": token, "size": "small", "tags": [["a", "1"], ["b", token], ["c", "x"]], "workload": {}})
}

const EAST: &str = "/v1/regions/east/instances";

fn listed(cloud: &mut Cloud, now: u64, target: &str) -> Vec<String> {
    let (status, body) = reply(cloud, now, "GET", target, Value::Null);
    assert_eq!(status, 200, "{body}");
    body["instances"]
        .as_array()
        .unwrap()
        .iter()
        .map(|i| i["id"].as_str().unwrap().to_owned())
        .collect()
}

#[test]
fn a_token_makes_one_instance_and_no_second_one() {
    let mut cloud = Cloud::new(Config::default());
    let (status, first) = reply(&mut cloud, 1, "POST", EAST, new("t"));
    assert_eq!((status, &first["state"]), (201, &json!("running")));
    assert_eq!(
        reply(&mut cloud, 2, "POST", EAST, new("t")),
        (200, first.clone())
    );
    let other = json!({"token": "t", "size": "large", "tags": [], "workload": {}});
    assert_eq!(
        reply(&mut cloud, 3, "POST", EAST, other).1["code"],
        "TokenReused"
    );
    let one = format!("{EAST}/{}", first["id"].as_str().unwrap());
    assert_eq!(reply(&mut cloud, 4, "DELETE", &one, Value::Null).0, 200);
    assert_eq!(reply(&mut cloud, 5, "DELETE", &one, Value::Null).0, 404);
    let (status, gone) = reply(&mut cloud, 6, "POST", EAST, new("t"));
    assert_eq!((status, &gone["code"]), (410, &json!("TokenSpent")));
    assert_eq!(cloud.ledger().count(), 1);
}

#[test]
fn capacity_and_quota_hold_and_come_back() {
    let mut cloud = Cloud::new(
        Config {
            quota: Some(3),
            ..Config::default()
        }
        .with_capacity("east", "small", 2),
    );
    let code = |answer: (u16, Value)| answer.1["code"].as_str().unwrap_or("").to_owned();
    for token in ["1", "2"] {
        assert_eq!(reply(&mut cloud, 0, "POST", EAST, new(token)).0, 201);
    }
    assert_eq!(
        code(reply(&mut cloud, 0, "POST", EAST, new("3"))),
        "OutOfCapacity"
    );
    assert_eq!(
        reply(
            &mut cloud,
            0,
            "POST",
            "/v1/regions/west/instances",
            new("4")
        )
        .0,
        201
    );
    assert_eq!(
        code(reply(
            &mut cloud,
            0,
            "POST",
            "/v1/regions/west/instances",
            new("5")
        )),
        "QuotaExceeded"
    );
    let offers = reply(&mut cloud, 0, "GET", "/v1/offers", Value::Null).1;
    assert!(
        offers["offers"]
            .as_array()
            .unwrap()
            .iter()
            .all(|o| o["capacity"] == 0),
        "{offers}"
    );
    cloud.disappear("i-000001");
    assert_eq!(
        reply(&mut cloud, 0, "POST", EAST, new("3")).0,
        201,
        "what was lost makes room"
    );
}

#[test]
fn lists_page_filter_by_every_tag_and_are_behind() {
    let mut cloud = Cloud::new(Config {
        page: 2,
        lag: Lag {
            ms: 100,
            operations: 0,
        },
        ..Config::default()
    });
    for token in ["1", "2", "3"] {
        reply(&mut cloud, 1000, "POST", EAST, new(token));
    }
    assert!(listed(&mut cloud, 1099, EAST).is_empty(), "not yet");
    let (_, page) = reply(
        &mut cloud,
        1100,
        "GET",
        &format!("{EAST}?tag=a:1"),
        Value::Null,
    );
    assert_eq!(
        (page["instances"].as_array().unwrap().len(), &page["next"]),
        (2, &json!("i-000002"))
    );
    assert_eq!(
        listed(&mut cloud, 1100, &format!("{EAST}?tag=a:1&page=i-000002")),
        ["i-000003"]
    );
    assert_eq!(
        listed(&mut cloud, 1100, &format!("{EAST}?tag=a:1&tag=b%3A2")),
        ["i-000002"]
    );
    reply(
        &mut cloud,
        2000,
        "DELETE",
        &format!("{EAST}/i-000002"),
        Value::Null,
    );
    assert_eq!(
        listed(&mut cloud, 2099, &format!("{EAST}?tag=b:2")),
        ["i-000002"],
        "still shown"
    );
    assert!(listed(&mut cloud, 2100, &format!("{EAST}?tag=b:2")).is_empty());
    assert_eq!(
        reply(
            &mut cloud,
            2100,
            "GET",
            &format!("{EAST}/i-000002"),
            Value::Null
        )
        .0,
        404
    );
}

#[test]
fn what_is_created_half_is_finished_by_the_same_token_and_its_tags() {
    let mut cloud = Cloud::new(Config::default());
    cloud.add_fault(Fault::new(Kind::Half).on(Operation::Create).times(1));
    assert_eq!(reply(&mut cloud, 0, "POST", EAST, new("t")).0, 500);
    let (status, half) = reply(&mut cloud, 0, "POST", EAST, new("t"));
    assert_eq!((status, &half["tags"]), (200, &json!({"a": "1", "b": "t"})));
    let (status, whole) = reply(
        &mut cloud,
        0,
        "PUT",
        &format!("{EAST}/i-000001/tags"),
        json!({"c": "x"}),
    );
    assert_eq!((status, &whole["tags"]["c"]), (200, &json!("x")));
    assert_eq!(
        listed(&mut cloud, 0, &format!("{EAST}?tag=c:x")),
        ["i-000001"]
    );
}

#[test]
fn an_answer_can_be_lost_before_or_after_the_effect_or_never_come() {
    let mut cloud = Cloud::new(Config::default());
    for kind in [Kind::LostBefore, Kind::LostAfter, Kind::Hang] {
        cloud.add_fault(Fault::new(kind).on(Operation::Create).times(1));
    }
    let fates: Vec<_> = ["1", "2", "3"]
        .iter()
        .map(|t| ask(&mut cloud, 0, "POST", EAST, new(t)))
        .collect();
    assert_eq!(fates, [Answer::Lost, Answer::Lost, Answer::Never]);
    assert_eq!(
        cloud.ledger().map(|i| i.token.as_str()).collect::<Vec<_>>(),
        ["2"]
    );
    cloud.add_fault(Fault::new(Kind::Throttled).on(Operation::List).ms(1500));
    let Answer::Reply(throttled) = ask(&mut cloud, 0, "GET", EAST, Value::Null) else {
        panic!("an answer")
    };
    assert_eq!((throttled.status, throttled.retry_after), (429, Some(1500)));
}

#[test]
fn a_region_that_is_down_answers_nothing_and_keeps_what_it_had() {
    let mut cloud = Cloud::new(Config::default());
    reply(&mut cloud, 0, "POST", EAST, new("t"));
    cloud.set_region("east", false);
    assert_eq!(
        reply(&mut cloud, 0, "GET", EAST, Value::Null).1["code"],
        "RegionDown"
    );
    let offers = reply(&mut cloud, 0, "GET", "/v1/offers", Value::Null).1;
    assert!(
        offers["offers"]
            .as_array()
            .unwrap()
            .iter()
            .all(|o| o["region"] == "west")
    );
    cloud.set_region("east", true);
    assert_eq!(listed(&mut cloud, 0, EAST), ["i-000001"]);
}

#[test]
fn jobs_run_start_again_and_end_and_everything_costs() {
    let mut cloud = Cloud::new(Config {
        boot_ms: 100,
        delete_ms: 50,
        ..Config::default()
    });
    let job =
        |code: &str| json!({"job": {"retries": 1}, "env": {"RUN_MS": "1000", "EXIT_CODE": code}});
    for (token, code) in [("good", "0"), ("bad", "3")] {
        reply(
            &mut cloud,
            0,
            "POST",
            EAST,
            json!({"token": token, "size": "small", "tags": [], "workload": job(code)}),
        );
    }
    let seen = |cloud: &mut Cloud, now| {
        cloud.advance(now);
        cloud
            .ledger()
            .map(|i| (i.state, i.exit_code, i.restarts))
            .collect::<Vec<_>>()
    };
    assert_eq!(seen(&mut cloud, 99), [(State::Creating, None, 0); 2]);
    assert_eq!(
        seen(&mut cloud, 1100),
        [(State::Exited, Some(0), 0), (State::Running, None, 1)]
    );
    assert_eq!(
        seen(&mut cloud, 2100),
        [(State::Exited, Some(0), 0), (State::Exited, Some(3), 1)]
    );
    assert_eq!(
        reply(
            &mut cloud,
            3_600_000,
            "DELETE",
            &format!("{EAST}/i-000001"),
            Value::Null
        )
        .0,
        202
    );
    assert_eq!(seen(&mut cloud, 3_600_050)[0].0, State::Deleted);
    assert_eq!(cloud.instance("i-000001").unwrap().cost, 50_000, "an hour");
}

#[test]
fn a_jobs_deadline_is_of_all_its_attempts_together() {
    let mut cloud = Cloud::new(Config {
        boot_ms: 100,
        ..Config::default()
    });
    let job = json!({"job": {"retries": 9, "deadlineMs": 2_500}, "env": {"RUN_MS": "1000", "EXIT_CODE": "3"}});
    reply(
        &mut cloud,
        0,
        "POST",
        EAST,
        json!({"token": "late", "size": "small", "tags": [], "workload": job}),
    );
    let mut seen = |now| {
        cloud.advance(now);
        cloud
            .ledger()
            .map(|i| (i.state, i.exit_code, i.restarts))
            .next()
            .unwrap()
    };
    assert_eq!(seen(2_599), (State::Running, None, 2));
    assert_eq!(seen(9_000), (State::Exited, Some(124), 2));
}

#[test]
fn who_does_not_say_the_token_gets_nothing_and_the_control_api_asks_for_none() {
    let mut cloud = Cloud::new(Config::default());
    let request = |method: &str, target: &str, body: &str| Request {
        method: method.to_owned(),
        target: target.to_owned(),
        authorization: String::new(),
        body: body.as_bytes().to_vec(),
    };
    let status = |answer: Answer| {
        if let Answer::Reply(reply) = answer {
            (reply.status, reply.body)
        } else {
            panic!("a reply")
        }
    };
    assert_eq!(
        status(cloud.answer(0, &request("GET", "/v1/offers", ""))).0,
        401
    );
    let script = r#"[{"operation":"offers","kind":"denied","count":1}]"#;
    assert_eq!(
        status(cloud.answer(0, &request("PUT", "/control/faults", script))).0,
        200
    );
    assert_eq!(
        reply(&mut cloud, 0, "GET", "/v1/offers", Value::Null).0,
        403
    );
    assert_eq!(
        status(cloud.answer(0, &request("GET", "/control/counters", ""))).1,
        json!({"offers": 1})
    );
}
