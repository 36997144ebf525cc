//! What the document says of every operation alike, and no handler has to: descriptions of answers, the errors that there can be, headers, examples.
//! It must not know what an operation does beyond its own document.

use serde_json::{Map, Value, json};
use tradewind_api::problem;

const METHODS: [&str; 4] = ["get", "put", "post", "delete"];
const REQUEST_ID: &str = "x-request-id";
/// An ETag.
const TAG: &str = "\"3-9f86d081884c7d65\"";

/// Completes the document of every operation.
pub(super) fn finish(document: &mut Value) {
    let servers = json!([{
        "url": "/",
        "description": "The daemon that has sent this document: http://127.0.0.1:7180, or where its setting `listen` says."
    }]);
    set(document, &["servers"], servers);
    let id = header(
        "The request's id: its own, if it came with one. Problems, events and the daemon's log have it too.",
        json!({ "type": "string" }),
        "r-01m8m5keswxvyj6s9ydtt4zp75",
    );
    set(document, &["components", "headers", REQUEST_ID], id);
    let Some(paths) = document.get_mut("paths").and_then(Value::as_object_mut) else {
        return;
    };
    for (path, item) in paths {
        for method in METHODS {
            if let Some(operation) = item.get_mut(method) {
                let errors = errors(path, method, operation);
                responses(path, method, operation, &errors);
                examples(operation);
            }
        }
    }
}

/// Gives a field of a field a value. What is missing on the way is made.
fn set(object: &mut Value, path: &[&str], value: Value) {
    let Some((last, before)) = path.split_last() else {
        return;
    };
    let mut here = object;
    for name in before {
        let Some(fields) = here.as_object_mut() else {
            return;
        };
        here = fields.entry(*name).or_insert_with(|| json!({}));
    }
    if let Some(fields) = here.as_object_mut() {
        fields.insert((*last).to_owned(), value);
    }
}

/// The statuses with which an operation can fail, as its document lets one expect.
fn errors(path: &str, method: &str, operation: &Value) -> Vec<u16> {
    let role = operation["x-tradewind-role"].as_str();
    let is_open = role.is_none_or(|role| role == "none");
    let has_body = !operation["requestBody"].is_null();
    let content = operation.pointer("/requestBody/content");
    let manifest = content.is_some_and(|content| content.get("application/yaml").is_some());
    let parameter = |name: &str| {
        let all = operation["parameters"].as_array().into_iter().flatten();
        all.into_iter().any(|p| p["name"] == name)
    };
    let named = path.contains('{');
    let writes = method != "get" && role.is_some_and(|role| role != "viewer");
    let calls = ["/plan", "/explain", "/logs", "/replay"];
    let calls = calls.iter().any(|end| path.ends_with(end)) || path == "/v1/assessments";
    let cases = [
        (400, !is_open || named),
        (401, !is_open),
        (403, true),
        (404, named),
        (408, has_body),
        (409, writes),
        (410, parameter("after") || path.ends_with("/replay")),
        (412, parameter("If-Match")),
        (413, has_body),
        (415, has_body),
        (422, has_body || manifest),
        (429, true),
        (500, true),
        (502, calls),
        (503, true),
    ];
    let expected = cases.into_iter().filter(|(_, expected)| *expected);
    expected.map(|(status, _)| status).collect()
}

/// What an error with this status means.
fn meaning(status: u16) -> &'static str {
    match status {
        400 => "A parameter, a header or the body can't be read.",
        401 => "There is no valid token.",
        403 => "The role of the token is too little, or it does not reach the namespace.",
        404 => "It does not exist.",
        408 => "The body did not come in time.",
        409 => "The present state does not allow it.",
        410 => "It is not kept any more.",
        412 => "Another change came first.",
        413 => "The body is too large.",
        415 => "The body is of another type, or packed.",
        422 => "The body can be read, and is not valid.",
        429 => "Too many requests: `Retry-After` says when to try again.",
        500 => "The daemon failed: its log tells more.",
        502 => "A plugin call failed.",
        _ => "The daemon can't answer now: `Retry-After` says when to try again.",
    }
}

fn header(description: &str, schema: Value, example: impl Into<Value>) -> Value {
    let example = example.into();
    json!({ "description": description, "schema": schema, "example": example })
}

fn responses(path: &str, method: &str, operation: &mut Value, errors: &[u16]) {
    let conditional = operation["parameters"]
        .as_array()
        .is_some_and(|all| all.iter().any(|p| p["name"] == "If-None-Match"));
    let Some(responses) = operation
        .get_mut("responses")
        .and_then(Value::as_object_mut)
    else {
        return;
    };
    let problem = responses.get("default").cloned();
    for status in errors {
        if let Some(problem) = &problem {
            let mut problem = problem.clone();
            set(&mut problem, &["description"], meaning(*status).into());
            if matches!(status, 429 | 503) {
                let wait = header("Seconds to wait.", json!({ "type": "integer" }), 1);
                set(&mut problem, &["headers", "Retry-After"], wait);
            }
            responses.entry(status.to_string()).or_insert(problem);
        }
    }
    let tagged = conditional && path.starts_with("/v1/");
    if tagged && method == "get" {
        responses.insert(
            "304".to_owned(),
            json!({ "description": "The client has it already." }),
        );
    }
    for (status, response) in responses.iter_mut() {
        let Some(response) = response.as_object_mut() else {
            continue;
        };
        describe(status, response);
        let headers = response.entry("headers").or_insert_with(|| json!({}));
        headers[REQUEST_ID] = json!({ "$ref": format!("#/components/headers/{REQUEST_ID}") });
        let writes_one = tagged && matches!(status.as_str(), "200" | "201" | "202");
        if writes_one || status == "304" {
            headers["ETag"] = header(
                "The generation, and of a read what stands for the whole content.",
                json!({ "type": "string" }),
                TAG,
            );
        }
        let made = status == "201" && path.ends_with("/plans");
        if tagged && status == "202" || made {
            headers["Location"] = header(
                "Where it can be read.",
                json!({ "type": "string" }),
                if made {
                    "/v1/plans/release?namespace=default"
                } else {
                    "/v1/namespaces/default/deployments/web"
                },
            );
        }
    }
}

fn describe(status: &str, response: &mut Map<String, Value>) {
    let told = response.get("description").and_then(Value::as_str);
    if told.is_some_and(|told| !told.is_empty()) {
        return;
    }
    let description = match status {
        "201" => "It was made.",
        "202" => "It was taken, and is being carried out.",
        "204" => "It was done.",
        "default" => "Any other error, as problem details (RFC 9457).",
        _ => "The answer.",
    };
    response.insert("description".to_owned(), description.into());
}

fn examples(operation: &mut Value) {
    let id = operation["operationId"].as_str().unwrap_or_default();
    let id = id.strip_suffix("InNamespace").unwrap_or(id).to_owned();
    let manifest = || {
        json!({
            "apiVersion": "tradewind.dev/v1",
            "kind": "CloudDeployment",
            "metadata": { "name": "web", "labels": { "app": "web" } },
            "spec": { "services": { "web": {
                "command": ["python3", "-m", "http.server", "8080"],
                "resources": { "cpu": "500m", "memory": "256Mi" },
                "replicas": 2
            } } }
        })
    };
    let summary = || {
        json!({
            "namespace": "default", "name": "web", "labels": { "app": "web" }, "generation": 3,
            "status": "running", "ready": 2, "replicas": 2, "places": ["local/here"],
            "hourlyCost": "0.012", "createdAt": "2026-03-01T09:30:00.000Z", "message": ""
        })
    };
    let body = match id.as_str() {
        "putDeployment" | "planDeployment" | "assess" | "createPlan" => Some(manifest()),
        "scaleDeployment" => Some(json!({ "task": "web", "replicas": 3 })),
        "createToken" => Some(json!({ "name": "ci", "role": "operator", "namespaces": ["team"] })),
        _ => None,
    };
    let answer = match id.as_str() {
        "listDeployments" => Some((
            "200",
            json!({ "items": [summary()], "next": "WyJkZXBsb3ltZW50cyIs", "revision": 731 }),
        )),
        "putDeployment" => Some((
            "202",
            json!({ "namespace": "default", "name": "web", "generation": 3, "outcome": "updated" }),
        )),
        "deleteDeployment" => Some((
            "202",
            json!({ "namespace": "default", "name": "web", "generation": 3, "outcome": "deleting" }),
        )),
        _ => None,
    };
    if body.is_none() && answer.is_none() {
        return;
    }
    if let Some(example) = body
        && let Some(content) = operation
            .pointer_mut("/requestBody/content")
            .and_then(Value::as_object_mut)
    {
        for media in content.values_mut() {
            media["example"] = example.clone();
        }
    }
    let mut put = |status: &str, media: &str, example: Value| {
        let content = operation.pointer_mut(&format!("/responses/{status}/content"));
        if let Some(media) = content.and_then(|content| content.get_mut(media)) {
            set(media, &["example"], example);
        }
    };
    if let Some((status, example)) = answer {
        put(status, "application/json", example);
    }
    put(
        "default",
        problem::CONTENT_TYPE,
        json!({
            "type": "/problems/not-found",
            "title": "Not found",
            "status": 404,
            "detail": "there is no deployment \"web\"",
            "request": "r-01m8m5keswxvyj6s9ydtt4zp75"
        }),
    );
}
