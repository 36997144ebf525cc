//! A generated client against a real daemon: see tests/e2e/clients.rs.

use std::{
    collections::{BTreeMap, BTreeSet},
    error::Error,
};

use reqwest::{RequestBuilder, Response, StatusCode, header};
use serde::de::DeserializeOwned;
use tradewind_client::{
    apis::{
        Error as ApiError, configuration::Configuration, deployments_api as deployments,
        events_api, meta_api, placement_api, plugins_api,
    },
    models::{
        ApiVersion, Bookmark, Bytes, DeploymentLeft, DeploymentSummary, EnvSpec, Kind, Manifest,
        Metadata, MicroUsd, MilliCpu, PortSpec, ProblemDetails, ResourcesSpec, Service, Spec,
        Status, event_cause,
    },
};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

const NAMES: [&str; 3] = ["one", "two", "three"];
const SELECTOR: &str = "app=client";

fn manifest(name: &str, command: &[&str]) -> Manifest {
    let resources = ResourcesSpec {
        cpu: Some(Box::new(MilliCpu::String("500m".into()))),
        memory: Some(Box::new(Bytes::String("64Mi".into()))),
        ..ResourcesSpec::new()
    };
    let env = [
        ("MODE", EnvSpec::String("test".into())),
        ("LEVEL", EnvSpec::Number(3.0)),
    ];
    let service = Service {
        command: Some(command.iter().map(ToString::to_string).collect()),
        env: Some(env.map(|(name, value)| (name.to_owned(), value)).into()),
        ports: Some([("http".to_owned(), PortSpec::Integer(8080))].into()),
        resources: Some(Box::new(resources)),
        ..Service::new()
    };
    let metadata = Metadata {
        labels: Some([("app".to_owned(), "client".to_owned())].into()),
        ..Metadata::new(name.to_owned())
    };
    let spec = Spec {
        services: Some([("web".to_owned(), service)].into()),
        ..Spec::new()
    };
    Manifest::new(ApiVersion::V1, Kind::CloudDeployment, metadata, spec)
}

/// An event of a watch, with its data in the type that the description tells.
enum Event {
    Put(Box<DeploymentSummary>),
    Delete(DeploymentLeft),
    Bookmark(#[expect(dead_code, reason = "it is read, and counts for nothing here")] Bookmark),
}

/// The generated functions read an answer whole, so a stream is read here.
struct Watch {
    answer: Response,
    rest: String,
}

impl Watch {
    async fn next(&mut self) -> Result<Event> {
        let mut event = String::new();
        loop {
            while let Some((line, rest)) = self.rest.split_once('\n') {
                let (line, rest) = (line.to_owned(), rest.to_owned());
                self.rest = rest;
                if let Some(name) = line.strip_prefix("event: ") {
                    event = name.to_owned();
                }
                if let Some(data) = line.strip_prefix("data: ") {
                    return Ok(match event.as_str() {
                        "put" => Event::Put(serde_json::from_str(data)?),
                        "delete" => Event::Delete(serde_json::from_str(data)?),
                        "bookmark" => Event::Bookmark(serde_json::from_str(data)?),
                        _ => return Err(format!("the watch failed: {data}").into()),
                    });
                }
            }
            let more = self.answer.chunk().await?.ok_or("the watch ended")?;
            self.rest += std::str::from_utf8(&more)?;
        }
    }
}

/// A request beside the generated functions, with their configuration.
fn get(configuration: &Configuration, path: &str) -> RequestBuilder {
    let token = configuration
        .bearer_access_token
        .as_deref()
        .unwrap_or_default();
    configuration
        .client
        .get(format!("{}{path}", configuration.base_path))
        .bearer_auth(token)
}

/// What an error answer says.
fn problem<T, E: std::fmt::Debug>(
    answer: std::result::Result<T, ApiError<E>>,
) -> Result<ProblemDetails> {
    fn read<T: DeserializeOwned>(text: &str) -> Result<T> {
        Ok(serde_json::from_str(text)?)
    }
    match answer {
        Err(ApiError::ResponseError(answer)) => read(&answer.content),
        Err(other) => Err(format!("{other:?}").into()),
        Ok(_) => Err("the request was not refused".into()),
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let configuration = Configuration {
        base_path: std::env::var("TRADEWIND_ENDPOINT")?,
        bearer_access_token: Some(std::env::var("TRADEWIND_TOKEN")?),
        ..Configuration::default()
    };
    let api = &configuration;

    for name in NAMES {
        let put = deployments::put_deployment(
            api,
            name,
            manifest(name, &["serve"]),
            None,
            None,
            None,
            None,
        )
        .await?;
        println!(
            "put {}: {}, generation {}",
            put.name, put.outcome, put.generation
        );
    }

    let list = async |cursor: Option<&str>| {
        deployments::list_deployments(
            api,
            None,
            cursor,
            None,
            Some(2),
            None,
            Some(SELECTOR),
            None,
            None,
            None,
            None,
        )
        .await
    };
    let mut page = list(None).await?;
    let revision = page.revision.ok_or("no revision")?;
    let (mut pages, mut found) = (1, page.items);
    while let Some(next) = page.next {
        page = list(Some(&next)).await?;
        pages += 1;
        found.append(&mut page.items);
    }
    let mut status: BTreeMap<String, Status> = found
        .into_iter()
        .map(|item| (item.name, item.status))
        .collect();
    println!(
        "listed [{}] on {pages} pages",
        status.keys().cloned().collect::<Vec<_>>().join(", ")
    );

    let query = format!("/v1/deployments?watch=true&after={revision}&selector=app%3Dclient");
    let answer = get(api, &query).send().await?.error_for_status()?;
    let mut watch = Watch {
        answer,
        rest: String::new(),
    };
    while NAMES
        .iter()
        .any(|name| status.get(*name) != Some(&Status::Running))
    {
        if let Event::Put(put) = watch.next().await? {
            status.insert(put.name, put.status);
        }
    }
    println!("running {}", status.len());

    let view = deployments::get_deployment(api, "one", None, None, None, None).await?;
    let services = view.manifest.spec.services.unwrap_or_default();
    let mode = services
        .get("web")
        .and_then(|web| web.env.as_ref()?.get("MODE"));
    let Some(EnvSpec::String(mode)) = mode else {
        return Err(format!("MODE is {mode:?}").into());
    };
    println!("reads {}, MODE {mode}", view.name);
    let mut known = header::HeaderValue::from_static("\"0\"");
    for _ in 0..20 {
        // The generated functions give no headers of answers.
        let answer = get(api, "/v1/deployments/one")
            .header(header::IF_NONE_MATCH, &known)
            .send()
            .await?;
        if answer.status() == StatusCode::NOT_MODIFIED {
            println!("unchanged {}", answer.status().as_u16());
            break;
        }
        known = answer.headers().get(header::ETAG).ok_or("no etag")?.clone();
    }

    let refused = problem(
        deployments::put_deployment(api, "bad", manifest("bad", &[]), None, None, None, None).await,
    )?;
    let first = refused
        .problems
        .as_ref()
        .and_then(|all| all.first())
        .ok_or("no place")?;
    println!(
        "refused {} {} at {}",
        refused.r#type, refused.status, first.path
    );

    let plugins =
        plugins_api::list_plugins(api, None, None, None, None, None, None, None, None, None)
            .await?;
    let instances: BTreeSet<String> = plugins
        .items
        .into_iter()
        .map(|plugin| plugin.instance)
        .collect();
    println!(
        "plugins [{}]",
        instances.into_iter().collect::<Vec<_>>().join(", ")
    );
    let offers = placement_api::list_offers(api, None, None, None, None, None, None, None).await?;
    let offer = offers.items.first().ok_or("no offer")?;
    let MicroUsd::String(price) = offer.price.as_ref() else {
        return Err("the price is no text".into());
    };
    println!(
        "offer {} {} {} at {price}",
        offer.provider, offer.region, offer.size
    );
    let regions =
        placement_api::list_regions(api, None, None, None, None, None, None, None, None, None)
            .await?;
    let regions: Vec<String> = regions
        .items
        .into_iter()
        .map(|region| region.region)
        .collect();
    println!("regions [{}]", regions.join(", "));
    let told = events_api::list_events(
        api,
        None,
        None,
        Some("one"),
        None,
        None,
        None,
        None,
        None,
        None,
        None,
        None,
        None,
    )
    .await?;
    let request =
        |cause: &tradewind_client::models::EventCause| cause.kind == event_cause::Kind::Request;
    println!(
        "a request caused some event: {}",
        told.items
            .iter()
            .any(|event| event.cause.as_deref().is_some_and(request))
    );
    let decisions =
        placement_api::list_decisions(api, None, Some("one"), None, Some(1), None).await?;
    println!(
        "decided by {}",
        decisions
            .items
            .first()
            .ok_or("no decision")?
            .policy
            .instance
    );
    let explained = placement_api::explain_deployment(api, "one", None, None).await?;
    println!(
        "explained {}",
        explained.tasks.first().ok_or("no task")?.task
    );
    let config = meta_api::get_config(api).await?;
    println!(
        "listens on {}",
        config.listen.split(':').next().unwrap_or_default()
    );

    for name in NAMES {
        deployments::delete_deployment(api, name, None, None, None).await?;
    }
    let mut gone = BTreeSet::new();
    while gone.len() < NAMES.len() {
        if let Event::Delete(left) = watch.next().await? {
            gone.insert(left.name);
        }
    }
    println!("deleted {}", gone.len());
    let missing = problem(deployments::get_deployment(api, "one", None, None, None, None).await)?;
    println!("missing {} {}", missing.r#type, missing.status);
    Ok(())
}
