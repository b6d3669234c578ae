// Checks a module on the shipped model; the last line printed is the digest of the stream's scores.
//
//     node check.js MODULE.wasm MODEL.amq TOKEN...
import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { AmqError, init } from "./amq.js";

const [module, path, ...words] = process.argv.slice(2);
const amq = await init(await readFile(module));
const file = await readFile(path);
const model = amq.load(file);
assert.deepEqual(model.inputs[0], { name: "tokens", type: "int64", shape: ["seq", "batch"], state: null });
assert.deepEqual(model.outputs[1], { name: "hn", type: "float32", shape: [1, "batch", 128], state: "h0" });

const feed = (...tokens) => ({ tokens: { data: BigInt64Array.from(tokens, BigInt), shape: [tokens.length, 1] } });
const session = model.session();
let hash = 0xcbf29ce484222325n;
const steps = [];
for (const word of words) {
    const outputs = session.step(feed(word));
    assert.deepEqual(Object.keys(outputs), ["logits"]);
    assert.deepEqual(outputs.logits.shape, [1, 1, 2000]);
    steps.push(outputs.logits.data);
    const { buffer, byteOffset, byteLength } = outputs.logits.data;
    for (const byte of new Uint8Array(buffer, byteOffset, byteLength))
        hash = ((hash ^ BigInt(byte)) * 0x100000001b3n) & 0xffffffffffffffffn;
}

// At once, with states as inputs, and from saved state.
const whole = model.session().run(feed(...words));
assert.deepEqual(whole.logits.data.subarray(-2000), steps.at(-1));
const other = model.session();
other.restore(session.save());
const next = session.step(feed(7));
assert.deepEqual(other.step(feed(7)), next);
assert.deepEqual(other.run({ ...feed(7), h0: whole.hn, c0: whole.cn }).logits, next.logits);
other.reset();
assert.deepEqual(other.step(feed(words[0])).logits.data, steps[0]);

// Bad arguments.
const fails = (call, code, text) => assert.throws(call, (error) => {
    assert.ok(error instanceof AmqError && error.code === code && error.message.includes(text), String(error));
    return true;
});
for (const cut of [0, 1, 63, 64, 1000, file.length - 1]) fails(() => amq.load(file.subarray(0, cut)), 4, "");
fails(() => session.step({}), 5, "tokens");
fails(() => session.step({ token: feed(1).tokens }), 5, "there is no input token");
fails(() => session.step({ tokens: { data: new Float32Array(1), shape: [1, 1] } }), 5, "is f32, it must be i64");
fails(() => session.step({ tokens: { data: [1], shape: [1, 1] } }), 1, "typed array");
fails(() => session.step({ tokens: { data: new BigInt64Array(2), shape: [1, 1] } }), 5, "2 elements");
fails(() => session.step({ tokens: { data: new BigInt64Array(1), shape: [1] } }), 5, "the model takes");
fails(() => session.step(feed(2000)), 7, "2000");
fails(() => session.restore(new Uint8Array(8)), 6, "damaged");
other.free();
fails(() => other.reset(), 2, "it was freed");
session.free();
model.free();
fails(() => model.session(), 2, "it was freed");
console.log(`digest ${hash.toString(16).padStart(16, "0")}`);
