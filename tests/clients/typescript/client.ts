// A generated client against a real daemon: see tests/e2e/clients.rs.

import {
    ApiVersion, BookmarkFromJSON, Configuration, DeploymentLeftFromJSON, DeploymentsApi, DeploymentSummaryFromJSON, EventCauseKindEnum,
    EventsApi, Kind, MetaApi, PlacementApi, PluginsApi, ProblemDetailsFromJSON, ResponseError, Status,
} from './generated';
import type { Bookmark, DeploymentLeft, DeploymentSummary, Manifest, ProblemDetails } from './generated';

const NAMES = ['one', 'two', 'three'];
const SELECTOR = 'app=client';

type Told =
    | { event: 'put'; data: DeploymentSummary }
    | { event: 'delete'; data: DeploymentLeft }
    | { event: 'bookmark'; data: Bookmark };

const configuration = new Configuration({
    basePath: process.env['TRADEWIND_ENDPOINT'],
    accessToken: process.env['TRADEWIND_TOKEN'],
});
const deployments = new DeploymentsApi(configuration);

function manifest(name: string, command: string[]): Manifest {
    return {
        apiVersion: ApiVersion.V1,
        kind: Kind.CloudDeployment,
        metadata: { name, labels: { app: 'client' } },
        spec: {
            services: {
                web: {
                    command,
                    env: { MODE: 'test', LEVEL: 3 },
                    ports: { http: 8080 },
                    resources: { cpu: '500m', memory: '64Mi' },
                },
            },
        },
    };
}

/** The events of a watch, each with its data in the type that the description tells. */
async function* events(after: number): AsyncGenerator<Told, never> {
    const answer = await deployments.listDeploymentsRaw({ watch: true, after, selector: SELECTOR });
    const reader = answer.raw.body!.pipeThrough(new TextDecoderStream()).getReader();
    let rest = '';
    let event = '';
    for (;;) {
        const { done, value } = await reader.read();
        if (done) throw new Error('the watch ended');
        const lines = (rest + value).split('\n');
        rest = lines.pop()!;
        for (const line of lines) {
            if (line.startsWith('event: ')) event = line.slice(7);
            if (!line.startsWith('data: ')) continue;
            const data = JSON.parse(line.slice(6));
            if (event === 'put') yield { event, data: DeploymentSummaryFromJSON(data) };
            else if (event === 'delete') yield { event, data: DeploymentLeftFromJSON(data) };
            else if (event === 'bookmark') yield { event, data: BookmarkFromJSON(data) };
            else throw new Error(`the watch failed: ${line}`);
        }
    }
}

/** What an error answer says. */
async function problem(request: Promise<unknown>): Promise<ProblemDetails> {
    try {
        await request;
    } catch (error) {
        if (error instanceof ResponseError) return ProblemDetailsFromJSON(await error.response.json());
        throw error;
    }
    throw new Error('the request was not refused');
}

async function main(): Promise<void> {
    for (const name of NAMES) {
        const put = await deployments.putDeployment({ name, manifest: manifest(name, ['serve']) });
        console.log(`put ${put.name}: ${put.outcome}, generation ${put.generation}`);
    }

    let page = await deployments.listDeployments({ selector: SELECTOR, limit: 2 });
    const revision = page.revision!;
    const found = [...page.items];
    let pages = 1;
    while (page.next) {
        page = await deployments.listDeployments({ selector: SELECTOR, limit: 2, cursor: page.next });
        found.push(...page.items);
        pages += 1;
    }
    console.log(`listed [${found.map((item) => item.name).sort().join(', ')}] on ${pages} pages`);

    const status = new Map(found.map((item) => [item.name, item.status]));
    const watch = events(revision);
    while (NAMES.some((name) => status.get(name) !== Status.Running)) {
        const { value } = await watch.next();
        if (value.event === 'put') status.set(value.data.name, value.data.status);
    }
    console.log(`running ${status.size}`);

    for (let attempt = 0; attempt < 20; attempt += 1) {
        const view = await deployments.getDeploymentRaw({ name: 'one' });
        if (attempt === 0) {
            const read = await view.value();
            console.log(`reads ${read.name}, MODE ${read.manifest.spec.services!['web']!.env!['MODE']}`);
        }
        const known = view.raw.headers.get('etag')!;
        try {
            await deployments.getDeploymentRaw({ name: 'one', ifNoneMatch: known });
        } catch (error) {
            if (!(error instanceof ResponseError)) throw error;
            console.log(`unchanged ${error.response.status}`);
            break;
        }
    }

    const refused = await problem(deployments.putDeployment({ name: 'bad', manifest: manifest('bad', []) }));
    console.log(`refused ${refused.type} ${refused.status} at ${refused.problems![0]!.path}`);

    const placement = new PlacementApi(configuration);
    const plugins = await new PluginsApi(configuration).listPlugins();
    console.log(`plugins [${plugins.items.map((plugin) => plugin.instance).sort().join(', ')}]`);
    const offer = (await placement.listOffers()).items[0]!;
    console.log(`offer ${offer.provider} ${offer.region} ${offer.size} at ${offer.price}`);
    const regions = await placement.listRegions();
    console.log(`regions [${regions.items.map((region) => region.region).join(', ')}]`);
    const told = await new EventsApi(configuration).listEvents({ deployment: 'one' });
    console.log(`a request caused some event: ${told.items.some((event) => event.cause?.kind === EventCauseKindEnum.Request)}`);
    const decision = (await placement.listDecisions({ deployment: 'one', limit: 1 })).items[0]!;
    console.log(`decided by ${decision.policy.instance}`);
    console.log(`explained ${(await placement.explainDeployment({ name: 'one' })).tasks[0]!.task}`);
    console.log(`listens on ${(await new MetaApi(configuration).getConfig()).listen.split(':')[0]}`);

    for (const name of NAMES) await deployments.deleteDeployment({ name });
    const gone = new Set<string>();
    while (gone.size < NAMES.length) {
        const { value } = await watch.next();
        if (value.event === 'delete') gone.add(value.data.name);
    }
    console.log(`deleted ${gone.size}`);
    const missing = await problem(deployments.getDeployment({ name: 'one' }));
    console.log(`missing ${missing.type} ${missing.status}`);
    process.exit(0);
}

main().catch((error) => {
    console.error(error);
    process.exit(1);
});
