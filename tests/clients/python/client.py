"""A generated client against a real daemon: see tests/e2e/clients.rs."""

import json
import os

import tradewind
from tradewind.models import (
    Bookmark,
    DeploymentLeft,
    DeploymentSummary,
    EnvSpec,
    Manifest,
    Metadata,
    PortSpec,
    ResourcesSpec,
    Service,
    Spec,
    Status,
)

NAMES = ["one", "two", "three"]
SELECTOR = "app=client"


def manifest(name, command):
    service = Service(
        command=command,
        env={"MODE": EnvSpec("test"), "LEVEL": EnvSpec(3.0)},
        ports={"http": PortSpec(8080)},
        resources=ResourcesSpec.from_dict({"cpu": "500m", "memory": "64Mi"}),
    )
    return Manifest(
        api_version="tradewind.dev/v1",
        kind="CloudDeployment",
        metadata=Metadata(name=name, labels={"app": "client"}),
        spec=Spec(services={"web": service}),
    )


def events(deployments, after):
    """The events of a watch, each with its data in the type that the description tells."""
    types = {"put": DeploymentSummary, "delete": DeploymentLeft, "bookmark": Bookmark}
    response = deployments.list_deployments_without_preload_content(
        watch=True, after=after, selector=SELECTOR
    )
    kind = None
    for line in response:
        name, _, value = line.decode().rstrip("\n").partition(": ")
        if name == "event":
            kind = value
        elif name == "data":
            yield kind, types[kind].from_dict(json.loads(value))


def main():
    configuration = tradewind.Configuration(
        host=os.environ["TRADEWIND_ENDPOINT"], access_token=os.environ["TRADEWIND_TOKEN"]
    )
    with tradewind.ApiClient(configuration) as client:
        deployments = tradewind.DeploymentsApi(client)
        for name in NAMES:
            put = deployments.put_deployment(name, manifest(name, ["serve"]))
            print(f"put {put.name}: {put.outcome.value}, generation {put.generation}")

        page = deployments.list_deployments(selector=SELECTOR, limit=2)
        revision, pages, found = page.revision, 1, page.items
        while page.next:
            page = deployments.list_deployments(selector=SELECTOR, limit=2, cursor=page.next)
            pages, found = pages + 1, found + page.items
        print(f"listed {sorted(item.name for item in found)} on {pages} pages".replace("'", ""))

        status = {item.name: item.status for item in found}
        watch = events(deployments, revision)
        while any(status[name] != Status.RUNNING for name in NAMES):
            kind, data = next(watch)
            if kind == "put":
                status[data.name] = data.status
        print(f"running {len(status)}")

        view = deployments.get_deployment_with_http_info("one")
        env = view.data.manifest.spec.services["web"].env
        print(f"reads {view.data.name}, MODE {env['MODE'].actual_instance}")
        for _ in range(20):
            try:
                view = deployments.get_deployment_with_http_info("one", if_none_match=view.headers["etag"])
            except tradewind.ApiException as unchanged:
                print(f"unchanged {unchanged.status}")
                break

        try:
            deployments.put_deployment("bad", manifest("bad", []))
        except tradewind.exceptions.UnprocessableEntityException as refused:
            problem = refused.data
            print(f"refused {problem.type.value} {problem.status} at {problem.problems[0].path}")

        placement, meta = tradewind.PlacementApi(client), tradewind.MetaApi(client)
        plugins = tradewind.PluginsApi(client).list_plugins()
        print(f"plugins {sorted(plugin.instance for plugin in plugins.items)}".replace("'", ""))
        offer = placement.list_offers().items[0]
        print(f"offer {offer.provider} {offer.region} {offer.size} at {offer.price.actual_instance}")
        print(f"regions {[region.region for region in placement.list_regions().items]}".replace("'", ""))
        caused = tradewind.EventsApi(client).list_events(deployment="one").items
        print(f"a request caused some event: {any(e.cause and e.cause.kind == 'request' for e in caused)}".lower())
        decision = placement.list_decisions(deployment="one", limit=1).items[0]
        print(f"decided by {decision.policy.instance}")
        print(f"explained {placement.explain_deployment('one').tasks[0].task}")
        print(f"listens on {meta.get_config().listen}".split(":")[0])

        for name in NAMES:
            deployments.delete_deployment(name)
        gone = set()
        while len(gone) < len(NAMES):
            kind, data = next(watch)
            if kind == "delete":
                gone.add(data.name)
        print(f"deleted {len(gone)}")
        try:
            deployments.get_deployment("one")
        except tradewind.exceptions.NotFoundException as missing:
            print(f"missing {missing.data.type.value} {missing.data.status}")


main()
