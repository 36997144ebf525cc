//! What things cost: a service by the clock and a job by its work, whoever decides and whoever tells it; and prices that can't be read.

use anyhow::{Context, Result, ensure};
use reqwest::Method;
use serde_json::{Value, json};
use tradewind_kit::{Daemon, LOCAL};

/// Two places: a plain machine, and one that is twice as fast and nearly twice as dear.
const PLAIN: &str = "component = \"simulated.wasm\"\n[settings.regions.north.sizes.s]\ncpu = 4\nmemory = \"16Gi\"\nprice = \"0.05\"\n";
const FAST: &str = "component = \"simulated.wasm\"\n[settings.regions.south.sizes.s]\ncpu = 4\nmemory = \"16Gi\"\nprice = \"0.09\"\nperformance = 2\n";

fn manifest(name: &str, spec: &str) -> String {
    format!(
        "{{apiVersion: tradewind.dev/v1, kind: CloudDeployment, metadata: {{name: {name}}}, spec: {{{spec}}}}}"
    )
}

async fn ask(daemon: &Daemon, method: Method, path: &str, body: String) -> Result<Value> {
    let request = daemon
        .http
        .request(method, daemon.url(path))
        .header("content-type", "application/yaml");
    let response = request.body(body).send().await?;
    let (status, text) = (response.status(), response.text().await?);
    ensure!(status.is_success(), "{path}: {status}: {text}");
    Ok(serde_json::from_str(&text)?)
}

async fn plan(daemon: &Daemon, name: &str, spec: &str) -> Result<Value> {
    ask(
        daemon,
        Method::POST,
        &format!("/v1/deployments/{name}/plan"),
        manifest(name, spec),
    )
    .await
}

#[tokio::test]
async fn a_service_goes_where_its_month_costs_least_whatever_the_policy() -> Result<()> {
    let policies = [
        "cheapest", "optimal", "weighted", "spread", "spot", "fastest",
    ];
    let components: Vec<&str> = policies.into_iter().chain(["simulated"]).collect();
    let daemon = Daemon::start(&components, &[("plain", PLAIN), ("fast", FAST)])?;
    let web = "services: {web: {command: [serve], replicas: 2}}";
    for policy in policies {
        let plan = plan(&daemon, "web", &format!("policy: {policy}, {web}")).await?;
        let told = plan["certificate"].clone();
        // Two replicas for a month of 730 hours, by hand: 2 × 730 × $0.05; one on each where losing a place must not matter; or on the fast one
        // where speed is what one wants.
        let (first, cost) = match policy {
            "fastest" => ("fast", "131.40"),
            "spread" => ("plain", "102.20"),
            _ => ("plain", "73.00"),
        };
        let goes = plan["changes"]
            .as_array()
            .is_some_and(|all| all.iter().any(|change| change["provider"] == first));
        assert!(goes && told["cost"] == cost, "{policy}: {plan:#}");
        assert_eq!(
            (&told["lowerBound"], &plan["estimatedCost"]),
            (&json!("73.00"), &json!(cost)),
            "{policy}: {plan:#}"
        );
    }

    // The report says the same, and the estimate of a month is a month's bill.
    let report = ask(
        &daemon,
        Method::POST,
        "/v1/assessments",
        manifest("web", web),
    )
    .await?;
    let task = &report["tasks"][0];
    let rows: Vec<_> = task["offers"]
        .as_array()
        .context("offers")?
        .iter()
        .map(|o| (&o["provider"], &o["hours"], &o["cost"]))
        .collect();
    let month = json!(730.0);
    assert_eq!(
        rows,
        [
            (&json!("plain"), &month, &json!("36.50")),
            (&json!("fast"), &month, &json!("65.70"))
        ],
        "{report:#}"
    );
    let chosen = &task["benefit"]["chosen"];
    assert_eq!(
        (&chosen["estimate"], &chosen["monthly"]),
        (&json!("73.00"), &json!("73.00")),
        "{report:#}"
    );

    // A job of as much work is done in half the time there, and costs less.
    let job = plan(
        &daemon,
        "sum",
        "jobs: {sum: {command: [sum], duration: 730h, replicas: 2}}",
    )
    .await?;
    assert_eq!(
        (&job["changes"][0]["provider"], &job["certificate"]["cost"]),
        (&json!("fast"), &json!("65.70")),
        "{job:#}"
    );

    // The answer flips where the bills are equal, and a decision repeats bit for bit.
    daemon.put("web", &manifest("web", web)).await?;
    daemon.running("web").await?;
    let explained = daemon.get("/v1/deployments/web/explain").await?;
    let flips = explained["tasks"][0]["flips"]
        .as_array()
        .cloned()
        .unwrap_or_default();
    let cheaper = flips
        .iter()
        .find(|f| f["kind"] == "cheaper" && f["provider"] == "fast")
        .context("no flip")?;
    let at = cheaper["flipsAt"].as_str().unwrap_or_default();
    assert!(
        ["0.05", "0.049999"].contains(&at),
        "as dear as the other one, or a little less: {cheaper:#}"
    );
    let id = daemon.list("/v1/decisions?deployment=web").await?[0]["id"]
        .as_str()
        .unwrap_or_default()
        .to_owned();
    daemon.run(&["replay", &id])?;
    Ok(())
}

#[tokio::test]
async fn a_budget_counts_a_job_for_as_long_as_it_takes_where_it_runs() -> Result<()> {
    let cloud = |region: &str, performance: &str| {
        format!(
            "component = \"simulated.wasm\"\n[settings]\njob-duration = \"1h\"\n[settings.regions.{region}.sizes.s]\ncpu = 4\nmemory = \"16Gi\"\n\
             price = \"10\"\nperformance = {performance}\n"
        )
    };
    let (slow, usual) = (cloud("north", "0.1"), cloud("south", "1"));
    let daemon = Daemon::start(
        &["cheapest", "simulated"],
        &[("slow", &slow), ("usual", &usual)],
    )?;
    let limits = "{apiVersion: tradewind.dev/v1, kind: Namespace, metadata: {name: default}, spec: {budget: {monthly: 5}}}";
    ask(
        &daemon,
        Method::PUT,
        "/v1/namespaces/default",
        limits.to_owned(),
    )
    .await?;
    let job = |provider: &str| {
        format!(
            "placement: {{providers: [{provider}]}}, jobs: {{sum: {{command: [sum], duration: 6m}}}}"
        )
    };
    // Six minutes of work are an hour on the slow machine: ten dollars.
    daemon.put("long", &manifest("long", &job("slow"))).await?;
    let told = "budget.monthly of namespace \"default\" is $5.00";
    let waits = |d: &Value| {
        d["message"]
            .as_str()
            .is_some_and(|m| m.contains(told) && m.contains("$10.00 more needed"))
    };
    daemon
        .until("long", "waiting for the budget", waits)
        .await?;
    daemon
        .put("short", &manifest("short", &job("usual")))
        .await?;
    daemon
        .until("short", "placed", |d| d["places"] == json!(["usual/south"]))
        .await?;
    let spend = daemon.get("/v1/namespaces/default").await?["spend"].take();
    let forecast = spend["forecast"]
        .as_str()
        .and_then(|t| t.parse::<f64>().ok())
        .unwrap_or_default();
    assert!(
        (0.9..=1.1).contains(&forecast),
        "a dollar for the short one: {spend:#}"
    );
    Ok(())
}

#[tokio::test]
async fn what_nobody_has_set_a_price_for_does_not_cost_nothing_in_silence() -> Result<()> {
    let daemon = Daemon::start(
        &["cheapest", "process", "simulated"],
        &[("local", LOCAL), ("plain", PLAIN)],
    )?;
    let source = |offers: &Value| -> String {
        let all = offers["items"].as_array().into_iter().flatten();
        all.filter(|o| o["provider"] == "local")
            .filter_map(|o| o["source"].as_str())
            .collect()
    };
    assert_eq!(source(&daemon.get("/v1/offers").await?), "no price set");
    assert!(daemon.run(&["offers"])?.contains("no price set"));
    let web = manifest(
        "web",
        "services: {web: {command: [sleep, \"600\"], replicas: 2, resources: {cpu: 10m, memory: 16Mi}}}",
    );
    let file = daemon.file("web.yaml", &web)?;
    let said = "no price is set for the places of 2 replicas, which count as $0.00";
    assert!(daemon.run(&["plan", "-f", &file])?.contains(said));
    daemon.put("web", &web).await?;
    daemon.running("web").await?;
    let decision = daemon.list("/v1/decisions?deployment=web").await?[0].take();
    assert_eq!(decision["certificate"]["unpriced"], 2, "{decision:#}");
    assert_eq!(
        decision["tasks"][0]["chosen"][0]["quote"]["source"], "no price set",
        "{decision:#}"
    );
    assert!(
        daemon
            .run(&[
                "decision",
                "show",
                decision["id"].as_str().unwrap_or_default()
            ])?
            .contains(said)
    );
    assert!(daemon.run(&["describe", "web"])?.contains(said));

    // Free of charge because somebody says so is another thing.
    let own = LOCAL.replace("[grants", "[settings]\ncpu-price = 0\n[grants");
    std::fs::write(daemon.plugins().join("local.toml"), own)?;
    daemon
        .until_at("/v1/offers", "priced", |offers| {
            source(offers) == "settings"
        })
        .await?;
    let plan = plan(
        &daemon,
        "next",
        "services: {web: {command: [sleep, \"600\"], resources: {cpu: 10m, memory: 16Mi}}}",
    )
    .await?;
    assert_eq!(
        (
            &plan["changes"][0]["provider"],
            &plan["certificate"]["unpriced"]
        ),
        (&json!("local"), &Value::Null),
        "{plan:#}"
    );
    Ok(())
}

/// An instance file that is good, and edits each of which makes it one that can't be used: from, to, and what is told.
struct Case {
    name: &'static str,
    good: &'static str,
    edits: &'static [(&'static str, &'static str, &'static [&'static str])],
}

const CASES: &[Case] = &[
    Case {
        name: "simulated",
        good: "[settings.regions.r]\nzones = [\"a\", \"b\"]\n[settings.regions.r.sizes.s]\ncpu = 2\nmemory = \"4Gi\"\nprice = \"0.04\"\n",
        edits: &[
            (
                "\"0.04\"",
                "\"zero\"",
                &[
                    "settings.regions.r.sizes.s.price",
                    "\"zero\" is not an amount of money",
                ],
            ),
            ("\"0.04\"", "\"0.00580695\"", &["more than six decimals"]),
            ("\"0.04\"", "\"1e-7\"", &["\"1e-7\"", "scientific notation"]),
            ("\"0.04\"", "0.0000001", &["more than six decimals"]),
            ("price = \"0.04\"\n", "", &["missing field `price`"]),
            (
                "\"4Gi\"",
                "\"much\"",
                &[
                    "settings.regions.r.sizes.s.memory",
                    "\"much\" is not a size",
                ],
            ),
            (
                "cpu = 2",
                "cpu = \"two\"",
                &["\"two\" is not a processor share"],
            ),
            (
                "\"b\"",
                "\"a\"",
                &["settings.regions.r", "\"r/a/s\" is there twice"],
            ),
        ],
    },
    Case {
        name: "process",
        good: "[settings]\ncpu-price = \"0.04\"\nmemory-price = 0.01\n[grants.process]\ncommands = [\"*\"]\n",
        edits: &[
            (
                "\"0.04\"",
                "\"zero\"",
                &["settings.cpu-price", "\"zero\" is not an amount of money"],
            ),
            (
                "0.01",
                "0.00580695",
                &["settings.memory-price", "more than six decimals"],
            ),
        ],
    },
    Case {
        name: "containers",
        good: "[settings]\ncpu-price = \"0.04\"\n[grants.containers]\nsocket = \"/nowhere/podman.sock\"\nimages = [\"*\"]\n",
        edits: &[(
            "\"0.04\"",
            "\"4 cents\"",
            &[
                "settings.cpu-price",
                "\"4 cents\" is not an amount of money",
            ],
        )],
    },
    Case {
        name: "kubernetes",
        good: "[settings]\ncpu-price = \"0.04\"\naccelerators.a.resource = \"x/a\"\naccelerators.a.memory = \"24Gi\"\n\
               [grants.kubernetes]\nkubeconfig = \"/nowhere/kubeconfig\"\nnamespaces = [\"default\"]\n",
        edits: &[
            (
                "\"0.04\"",
                "\"0.0000004\"",
                &["settings.cpu-price", "more than six decimals"],
            ),
            (
                "\"24Gi\"",
                "\"24 big ones\"",
                &["settings.accelerators.a.memory", "is not a size"],
            ),
            (
                "[settings]\n",
                "[settings]\npublic = \"node-port\"\n",
                &["settings.node-address"],
            ),
        ],
    },
    Case {
        name: "aws",
        good: "[settings.regions.us-east-1]\nimage = \"ami-1\"\nsubnets = { us-east-1a = \"subnet-1\", us-east-1b = \"subnet-2\" }\n\
               [settings.prices.us-east-1]\n\"t3.micro\" = \"0.01\"\n\
               [grants.aws]\ncredentials = { file = \"/nowhere/keys\" }\nregions = [\"us-east-1\"]\n",
        edits: &[
            (
                "\"0.01\"",
                "\"a cent\"",
                &[
                    "settings.prices.us-east-1.t3.micro",
                    "\"a cent\" is not an amount of money",
                ],
            ),
            (
                ", us-east-1b = \"subnet-2\"",
                "",
                &[
                    "settings.regions.us-east-1.subnets",
                    "a load balancer needs two subnets",
                    "load-balancer = false",
                ],
            ),
        ],
    },
    Case {
        name: "azure",
        good: "[settings]\nsubscription = \"s\"\nresource-group = \"g\"\nlocations = [\"westeurope\", \"eastus\"]\nlargest-memory = \"16Gi\"\n\
               prices.westeurope = { cpu = \"0.05\", memory = \"0.01\" }\n[grants.http]\nhosts = [\"management.azure.com\"]\n",
        edits: &[
            (
                "\"0.05\"",
                "\"5e-2\"",
                &["settings.prices.westeurope.cpu", "scientific notation"],
            ),
            (
                "\"16Gi\"",
                "\"16 GiB or so\"",
                &["settings.largest-memory", "is not a size"],
            ),
            (
                "\"eastus\"",
                "\"westeurope\"",
                &["settings.locations", "\"westeurope\" is named twice"],
            ),
            (
                "\"eastus\"",
                "\"atlantis\"",
                &[
                    "settings.locations",
                    "the price of \"atlantis\" is not known",
                    "[settings.prices.atlantis]",
                ],
            ),
        ],
    },
    // Policies have settings, too.
    Case {
        name: "spot",
        good: "[settings]\ninterruption-cost = \"0.05\"\nlost-time = \"10m\"\n",
        edits: &[
            (
                "\"0.05\"",
                "\"little\"",
                &[
                    "settings.interruption-cost",
                    "\"little\" is not an amount of money",
                ],
            ),
            (
                "\"10m\"",
                "\"a while\"",
                &["settings.lost-time", "is not a length of time"],
            ),
        ],
    },
];

/// Starts a daemon with the good files of these plugins, and tries every edit.
async fn try_edits(names: &[&str]) -> Result<Daemon> {
    let cases: Vec<&Case> = CASES
        .iter()
        .filter(|case| names.contains(&case.name))
        .collect();
    ensure!(cases.len() == names.len(), "{names:?}");
    let file = |case: &Case, text: &str| format!("component = \"{}.wasm\"\n{text}", case.name);
    let files: Vec<(&str, String)> = cases
        .iter()
        .map(|case| (case.name, file(case, case.good)))
        .collect();
    let instances: Vec<(&str, &str)> = files
        .iter()
        .map(|(name, text)| (*name, text.as_str()))
        .collect();
    let daemon = Daemon::start(names, &instances)?;
    for case in cases {
        let path = format!("/v1/plugins/{}", case.name);
        let before = daemon.get(&path).await?;
        assert_eq!(
            (&before["state"], &before["lastRejection"]),
            (&json!("active"), &Value::Null),
            "{before:#}"
        );
        for (from, to, told) in case.edits {
            assert!(case.good.contains(from), "{from}");
            let temporary = daemon.plugins().join(".part");
            std::fs::write(&temporary, file(case, &case.good.replacen(from, to, 1)))?;
            std::fs::rename(
                &temporary,
                daemon.plugins().join(format!("{}.toml", case.name)),
            )?;
            let says = |view: &Value| {
                view["lastRejection"]["reason"]
                    .as_str()
                    .is_some_and(|why| told.iter().all(|part| why.contains(part)))
            };
            let view = daemon
                .until_at(&path, &format!("refused for {told:?}"), says)
                .await?;
            assert_eq!(
                (&view["state"], &view["identity"]),
                (&before["state"], &before["identity"]),
                "the good one stays: {view:#}"
            );
            // The clouds of others are not there, and their own calls fail.
            let fails = |view: &Value| {
                view["statistics"]["failures"]
                    .as_u64()
                    .filter(|_| case.name == "simulated")
            };
            assert_eq!(
                fails(&view),
                fails(&before),
                "it is no failure of the good one: {view:#}"
            );
        }
    }
    Ok(daemon)
}

#[tokio::test]
async fn a_price_or_size_that_can_not_be_read_displaces_no_good_instance_file() -> Result<()> {
    let daemon = try_edits(&["simulated", "process", "aws", "spot"]).await?;
    let offers = daemon.get("/v1/offers").await?;
    for provider in ["simulated", "process"] {
        let price = offers["items"]
            .as_array()
            .and_then(|all| all.iter().find(|o| o["provider"] == provider))
            .map(|o| &o["price"]);
        assert_eq!(
            price,
            Some(&json!("0.04")),
            "the good prices go on: {offers:#}"
        );
    }
    let listed = daemon.run(&["plugin", "list"])?;
    assert!(listed.contains("\"r/a/s\" is there twice"), "{listed}");
    Ok(())
}

#[tokio::test]
async fn nor_does_one_of_an_engine_a_cluster_or_a_price_table() -> Result<()> {
    try_edits(&["containers", "kubernetes", "azure"]).await?;
    Ok(())
}
