// Steps a model by amq and by onnxruntime-web (WebAssembly, one thread) in turns, in one process, and prints the
// medians and their ratio. Needs onnxruntime-web: npm install --no-save onnxruntime-web
//
//     node bench.js MODEL.amq MODEL.onnx
//
// With Node 20, relaxed SIMD wants the flag --experimental-wasm-relaxed-simd. Inputs that are no states are ones in the shapes of the model, 1 where a call decides.
import { readFile } from "node:fs/promises";
import ort from "onnxruntime-web";
import { init, relaxed } from "./amq.js";

const TURNS = 120;
const STEPS = 30;
const [coded, source] = process.argv.slice(2);
const amq = await init(await readFile(new URL(relaxed() ? "amq-relaxed.wasm" : "amq.wasm", import.meta.url)));
const model = amq.load(await readFile(coded));
const session = model.session();
ort.env.wasm.numThreads = 1;
const other = await ort.InferenceSession.create(await readFile(source), { executionProviders: ["wasm"] });

const ours = {};
let theirs = {};
for (const port of model.inputs) {
    const shape = port.shape.map((size) => (typeof size === "number" ? size : 1));
    const length = shape.reduce((product, size) => product * size, 1);
    const data = port.type === "int64" ? new BigInt64Array(length).fill(1n) : new Float32Array(length);
    if (port.state === null) {
        if (port.type === "float32") data.forEach((_, i) => (data[i] = Math.sin(i)));
        ours[port.name] = { data, shape };
    }
    theirs[port.name] = new ort.Tensor(port.type, data, shape);
}
const carry = (outputs) => {
    for (const port of model.inputs) if (port.state !== null) theirs[port.name] = outputs[port.state];
};
const times = [[], []];
for (let turn = 0; turn < TURNS; turn++) {
    let start = performance.now();
    for (let step = 0; step < STEPS; step++) session.step(ours);
    times[0].push((performance.now() - start) / STEPS);
    start = performance.now();
    for (let step = 0; step < STEPS; step++) carry(await other.run(theirs));
    times[1].push((performance.now() - start) / STEPS);
}
// Compilers of the host take half of the turns until both are as fast as they become.
const [mine, its] = times.map((list) => list.slice(TURNS / 2).sort((a, b) => a - b)[TURNS >> 2] * 1e3);
console.log(`amq ${mine.toFixed(1)} us a step, onnxruntime-web ${its.toFixed(1)} us: ${(its / mine).toFixed(2)} times as long`);
