// The page's program; `build.js` puts it behind amq.js, and what it reads into `given`, as base64.
const bytes = (text) => Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
const given = { /* given */ };
const words = new TextDecoder().decode(bytes(given.vocabulary)).trimEnd().split("\n");
const [stream] = new TextDecoder().decode(bytes(given.stream)).split("\n");
const numbers = new Map(words.map((word, number) => [word, number]));
const at = (id) => document.getElementById(id);

const model = (await init(bytes(given.wasm))).load(bytes(given.model));
const session = model.session();

/** The scores of what follows, of one more word. */
function step(number) {
    return session.step({ tokens: { data: BigInt64Array.of(BigInt(number)), shape: [1, 1] } }).logits.data;
}

/** FNV-1a, 64 bits, of all scores of the stream that programs on all machines are checked with. */
function digest() {
    let hash = 0xcbf29ce484222325n;
    for (const number of stream.split(" "))
        for (const byte of new Uint8Array(step(number).buffer))
            hash = ((hash ^ BigInt(byte)) * 0x100000001b3n) & 0xffffffffffffffffn;
    session.reset();
    return hash.toString(16).padStart(16, "0");
}

/** The most likely words with their probabilities; not the one that stands for all unknown ones. */
function likely(scores, count) {
    const most = Math.max(...scores);
    const sum = scores.reduce((sum, score) => sum + Math.exp(score - most), 0);
    const order = Array.from(scores.keys()).filter((number) => words[number] !== "<unk>");
    order.sort((a, b) => scores[b] - scores[a]);
    return order.slice(0, count).map((number) => [number, Math.exp(scores[number] - most) / sum]);
}

const MARKS = /[,.;!?]/;
/** Words as a sentence: none of the blanks that a mark does not have before it. */
const joined = (list) => list.map((word) => (MARKS.test(word) ? word : ` ${word}`)).join("").trim();

/** Feeds the text, offers words that may follow, and goes on to the end of the sentence. */
function complete() {
    const text = at("text").value;
    const known = text.toLowerCase().split(/\s+|(?=[,.;!?])/).filter((word) => numbers.has(word));
    session.reset();
    let scores = step(numbers.get("<eos>"));
    for (const word of known) scores = step(numbers.get(word));
    at("words").replaceChildren(...likely(scores, 8).filter(([number]) => words[number] !== "<eos>").map(([number, share]) => {
        const button = document.createElement("button");
        const percent = document.createElement("small");
        percent.textContent = `${Math.round(100 * share)} %`;
        button.append(`${words[number]} `, percent);
        button.onclick = () => {
            at("text").value = joined([...text.trim().split(/\s+/), words[number]]);
            complete();
            at("text").focus();
        };
        return button;
    }));
    const more = [];
    while (more.length < 30 && !["<eos>", "."].includes(more.at(-1))) {
        const [[number]] = likely(scores, 1);
        more.push(words[number]);
        scores = step(number);
    }
    const rest = document.createElement("em");
    const whole = joined([text.trim(), ...more.filter((word) => word !== "<eos>")]);
    rest.textContent = whole.slice(text.trim().length);
    at("sentence").replaceChildren(text.trim(), rest);
}

const found = digest();
complete();
at("text").oninput = complete;
const size = (base64) => `${Math.round(0.75 * base64.length / 1000)} kB`;
at("facts").textContent =
    `Library ${size(given.wasm)}, model ${size(given.model)}. Scores of the test stream: digest ${found}`;
