// The JavaScript side of amq.h: sizes and offsets below are those of its structures on wasm32.

const TYPES = [Float32Array, BigInt64Array, Int32Array, Uint8Array, Int8Array, Uint8Array, Int16Array, Uint16Array,
    Uint32Array, BigUint64Array];
const NAMES = ["float32", "int64", "int32", "uint8", "int8", "bool", "int16", "uint16", "uint32", "uint64"];
const TENSOR = 24;
const PORT = 32;

/** What was found, and what is expected. `code` is an amq_status. */
export class AmqError extends Error {
    constructor(code, message) {
        super(message);
        this.name = "AmqError";
        this.code = code;
    }
}

// (a, b, c) => a * b + c, by f32x4.relaxed_madd.
const MADD = [0, 97, 115, 109, 1, 0, 0, 0, 1, 8, 1, 96, 3, 125, 125, 125, 1, 125, 3, 2, 1, 0, 7, 5, 1, 1, 102, 0, 0, 10, 22, 1, 20, 0,
    32, 0, 253, 19, 32, 1, 253, 19, 32, 2, 253, 19, 253, 133, 2, 253, 31, 0, 11];

/** Whether amq-relaxed.wasm gives the same bits here: the host has relaxed SIMD, and its multiply-add rounds once. */
export function relaxed() {
    const module = new Uint8Array(MADD);
    if (!WebAssembly.validate(module)) return false;
    const { f } = new WebAssembly.Instance(new WebAssembly.Module(module)).exports;
    const x = 1 + 2 ** -12;
    return f(x, x, -(1 + 2 ** -11)) === 2 ** -24;
}

/**
 * The library: of the bytes of amq.wasm or amq-relaxed.wasm, of a compiled module, or of the answer to a fetch.
 * Without an argument the faster one is fetched from beside this file.
 */
export async function init(source = fetch(new URL(relaxed() ? "amq-relaxed.wasm" : "amq.wasm", import.meta.url))) {
    source = await source;
    if (typeof Response !== "undefined" && source instanceof Response) source = await source.arrayBuffer();
    const made = await WebAssembly.instantiate(source, {});
    return new Amq((made.instance ?? made).exports);
}

class Amq {
    constructor(exports) {
        this.exports = exports;
    }

    /** A model, of the bytes of its file. */
    load(bytes) {
        return new Model(this, bytes);
    }

    bytes(at, length) {
        return new Uint8Array(this.exports.memory.buffer, at, length);
    }

    view() {
        return new DataView(this.exports.memory.buffer);
    }

    text(at) {
        const from = this.bytes(at);
        return new TextDecoder().decode(from.subarray(0, from.indexOf(0)));
    }

    check(code) {
        if (code !== 0) throw new AmqError(code, this.text(this.exports.amq_error()));
    }

    alloc(size) {
        const at = this.exports.amq_alloc(size);
        if (at === 0) throw new AmqError(8, `there is no memory for ${size} bytes`);
        return at;
    }

    /** Calls with memory of its own. */
    within(size, call) {
        const at = this.alloc(size);
        try {
            return call(at);
        } finally {
            this.exports.amq_release(at, size);
        }
    }
}

/** A loaded model; sessions share it. */
class Model {
    constructor(amq, bytes) {
        this.amq = amq;
        bytes = ArrayBuffer.isView(bytes)
            ? new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.byteLength) : new Uint8Array(bytes);
        this.id = amq.within(bytes.length + 8, (at) => {
            amq.bytes(at + 8, bytes.length).set(bytes);
            amq.check(amq.exports.amq_model_load(at + 8, bytes.length, at));
            return amq.view().getBigUint64(at, true);
        });
        const counts = amq.within(8, (at) => {
            amq.check(amq.exports.amq_model_counts(this.id, at, at + 4));
            return [amq.view().getUint32(at, true), amq.view().getUint32(at + 4, true)];
        });
        const ports = (count, call) => Array.from({ length: count }, (_, i) => amq.within(PORT, (at) => {
            amq.check(call(this.id, i, at));
            const view = amq.view();
            const [name, type, rank, sizes, shape] = [0, 4, 8, 12, 16].map((from) => view.getUint32(at + from, true));
            const text = amq.text(shape).slice(1, -1);
            const dims = rank === 0 ? [] : text.split(", ").map((dim, axis) => {
                const size = Number(view.getBigInt64(sizes + 8 * axis, true));
                return size < 0 ? dim : size;
            });
            return { name: amq.text(name), type: NAMES[type], shape: dims, state: Number(view.getBigInt64(at + 24, true)) };
        }));
        const inputs = ports(counts[0], amq.exports.amq_model_input);
        const outputs = ports(counts[1], amq.exports.amq_model_output);
        const named = (port, others) => ({ ...port, state: port.state < 0 ? null : others[port.state].name });
        this.inputs = inputs.map((port) => named(port, outputs));
        this.outputs = outputs.map((port) => named(port, inputs));
    }

    /** One stream of calls. */
    session() {
        return new Session(this);
    }

    /** Gives its memory back, when its sessions are freed too. */
    free() {
        this.amq.check(this.amq.exports.amq_model_free(this.id));
    }
}

/** One stream of calls, with its state. */
class Session {
    constructor(model) {
        const { amq } = model;
        this.model = model;
        this.amq = amq;
        this.room = { at: 0, size: 0 };
        this.id = amq.within(8, (at) => {
            amq.check(amq.exports.amq_session_new(model.id, at));
            return amq.view().getBigUint64(at, true);
        });
    }

    /** All outputs of inputs by name, each `{ data, shape }`; states are inputs, which may be absent. */
    run(inputs) {
        return this.#call(this.amq.exports.amq_session_run, inputs, () => true);
    }

    /** The outputs that are no states; states come from the step before and go to the next. */
    step(inputs) {
        return this.#call(this.amq.exports.amq_session_step, inputs, (port) => port.state === null);
    }

    /** Forgets the state. */
    reset() {
        this.amq.check(this.amq.exports.amq_session_reset(this.id));
    }

    /** The state as bytes, the same on every machine. */
    save() {
        const { amq } = this;
        const size = amq.within(4, (at) => {
            amq.check(amq.exports.amq_session_save(this.id, 0, at));
            return amq.view().getUint32(at, true);
        });
        return amq.within(size + 4, (at) => {
            amq.view().setUint32(at, size, true);
            amq.check(amq.exports.amq_session_save(this.id, at + 4, at));
            return amq.bytes(at + 4, size).slice();
        });
    }

    /** Continues from a state that was saved in a session of the same file. */
    restore(bytes) {
        const { amq } = this;
        amq.within(bytes.length, (at) => {
            amq.bytes(at, bytes.length).set(bytes);
            amq.check(amq.exports.amq_session_restore(this.id, at, bytes.length));
        });
    }

    /** Gives its memory back. */
    free() {
        this.amq.check(this.amq.exports.amq_session_free(this.id));
        if (this.room.size > 0) this.amq.exports.amq_release(this.room.at, this.room.size);
        this.room = { at: 0, size: 0 };
    }

    #call(call, inputs, wanted) {
        const { amq, model } = this;
        const given = Object.entries(inputs).map(([name, { data, shape }]) => {
            const port = model.inputs.find((input) => input.name === name);
            const fits = TYPES.findIndex((type) => data instanceof type);
            if (fits < 0) throw new AmqError(1, `input ${name}: its data are no typed array that models take`);
            // A byte may be a bool.
            const type = port?.type === "bool" && fits === 3 ? 5 : fits;
            return { name: new TextEncoder().encode(`${name}\0`), data, shape, type };
        });
        // Structures, then of each input its data, shape and name, each at a multiple of 16.
        const round = (size) => (size + 15) & -16;
        const size = round(TENSOR * (given.length + 1)) + given.reduce((sum, { name, data, shape }) =>
            sum + round(data.byteLength) + round(4 * shape.length) + round(name.length), 0);
        if (size > this.room.size) {
            if (this.room.size > 0) amq.exports.amq_release(this.room.at, this.room.size);
            this.room = { at: 0, size: 0 };
            this.room = { at: amq.alloc(size), size };
        }
        const start = this.room.at;
        const view = amq.view();
        let at = start + round(TENSOR * (given.length + 1));
        given.forEach(({ name, data, shape, type }, i) => {
            const put = (bytes) => {
                amq.bytes(at, bytes.length).set(bytes);
                at += round(bytes.length);
                return at - round(bytes.length);
            };
            const elements = put(new Uint8Array(data.buffer, data.byteOffset, data.byteLength));
            const sizes = at;
            shape.forEach((size, axis) => view.setUint32(sizes + 4 * axis, size, true));
            at += round(4 * shape.length);
            [put(name), type, shape.length, sizes, elements, data.byteLength].forEach((word, place) =>
                view.setUint32(start + TENSOR * i + 4 * place, word, true));
        });
        amq.check(call(this.id, start, given.length));
        const outputs = {};
        const output = start + TENSOR * given.length;
        model.outputs.forEach((port, i) => {
            if (!wanted(port)) return;
            amq.check(amq.exports.amq_session_output(this.id, i, output));
            // The call may have grown the memory.
            const words = new Uint32Array(amq.exports.memory.buffer, output, 6);
            const [, type, rank, sizes, from, bytes] = words;
            const Type = TYPES[type];
            outputs[port.name] = {
                data: new Type(amq.exports.memory.buffer.slice(from, from + bytes)),
                shape: Array.from(new Uint32Array(amq.exports.memory.buffer, sizes, rank)),
            };
        });
        return outputs;
    }
}
