export type Data = Float32Array | BigInt64Array | Int32Array | Uint8Array | Int8Array | Int16Array | Uint16Array
    | Uint32Array | BigUint64Array;

export interface Tensor {
    data: Data;
    shape: number[];
}

/** An input or output of a model. */
export interface Port {
    name: string;
    type: "float32" | "int64" | "int32" | "uint8" | "int8" | "bool" | "int16" | "uint16" | "uint32" | "uint64";
    /** Sizes; text where calls decide: a name, or an expression of names. */
    shape: (number | string)[];
    /** Of a state, the output with this input's next value, or the input that takes this output. */
    state: string | null;
}

/** What was found, and what is expected. */
export class AmqError extends Error {
    /** An amq_status of amq.h. */
    code: number;
}

export interface Session {
    readonly model: Model;
    /** All outputs; states are inputs, which may be absent. */
    run(inputs: Record<string, Tensor>): Record<string, Tensor>;
    /** The outputs that are no states; states come from the step before and go to the next. */
    step(inputs: Record<string, Tensor>): Record<string, Tensor>;
    reset(): void;
    save(): Uint8Array;
    restore(state: Uint8Array): void;
    /** Gives its memory back. */
    free(): void;
}

export interface Model {
    readonly inputs: Port[];
    readonly outputs: Port[];
    session(): Session;
    /** Gives its memory back, when its sessions are freed too. */
    free(): void;
}

export interface Amq {
    /** A model, of the bytes of its file; bytes from anywhere may be loaded. */
    load(bytes: Uint8Array | ArrayBuffer): Model;
}

/** Whether amq-relaxed.wasm, which is faster, gives the same bits here. */
export function relaxed(): boolean;

/** The library: of the bytes of amq.wasm or amq-relaxed.wasm, a compiled module or a fetched answer; by default the faster beside amq.js. */
export function init(source?: BufferSource | WebAssembly.Module | Response | Promise<Response>): Promise<Amq>;
