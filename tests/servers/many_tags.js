// A real OPC UA server of another make than our client, with very many tags: `node many_tags.js PORT OPTIONS`, OPTIONS as JSON.
//
// Nodes s=0, s=1 ... in the namespace urn:plant, doubles that all change once a second, and `times` as often from `begin_s` to
// `end_s`; every half second `swinging` of them, others each time, go above 80 and stay there. It prints `ready` when it listens,
// begins at the first line on its input, and after `last_s` prints one line of JSON: how many values there were, which tag crossed
// when (ms since the epoch), and how late its own beat was at most (ms).
"use strict";

console.log = console.warn = console.error; // what the library has to say does not stand among what we say
const say = (line) => process.stdout.write(`${line}\n`);

const { OPCUAServer } = require("node-opcua-server");
const { DataType } = require("node-opcua-variant");
const { StatusCodes } = require("node-opcua-status-code");

const port = Number(process.argv[2]);
const { tags, last_s, begin_s, end_s, times, swinging } = JSON.parse(process.argv[3]);
const CROSS_EVERY_MS = 500;

async function main() {
    const server = new OPCUAServer({
        port,
        resourcePath: "/plant",
        serverCapabilities: { maxMonitoredItems: 2 * tags, maxMonitoredItemsPerSubscription: 2 * tags },
    });
    await server.initialize();
    const { addressSpace } = server.engine;
    const namespace = addressSpace.registerNamespace("urn:plant");
    const nodes = Array.from({ length: tags }, (_, i) =>
        namespace.addVariable({
            organizedBy: addressSpace.rootFolder.objects,
            browseName: `t${i}`,
            nodeId: `s=${i}`,
            dataType: "Double",
            minimumSamplingInterval: 0,
            value: { dataType: DataType.Double, value: 0 },
        }),
    );
    await server.start();
    process.stdin.once("data", () => run(nodes));
    process.stdin.once("end", () => process.exit(0));
    say("ready");
}

function run(nodes) {
    const began = Date.now();
    const crossed = {};
    let [count, next, fresh, cross_at, late_ms] = [0, began, 0, began, 0];
    const beat = () => {
        const now = Date.now();
        const gone_s = (now - began) / 1000;
        late_ms = Math.max(late_ms, now - next);
        if (gone_s >= last_s) {
            say(JSON.stringify({ count, crossed, late_ms }));
            return;
        }
        if (now >= cross_at) {
            cross_at += CROSS_EVERY_MS;
            for (let k = 0; k < swinging && fresh < nodes.length; k++) crossed[fresh++] = now;
        }
        const at = new Date(now);
        const small = (count / nodes.length) % 20;
        nodes.forEach((node, i) => {
            const value = (crossed[i] === undefined ? 50 : 90) + small / 10;
            node.setValueFromSource({ dataType: DataType.Double, value }, StatusCodes.Good, at);
        });
        count += nodes.length;
        next = Math.max(next + 1000 / (gone_s >= begin_s && gone_s < end_s ? times : 1), now);
        setTimeout(beat, next - Date.now());
    };
    beat();
}

main();
