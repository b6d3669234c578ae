// Makes the demo: one file that holds library, model and vocabulary, so that it works from a disk and without a network.
//
//     node build.js OUT.html
import { readFile, writeFile } from "node:fs/promises";

const text = (path) => readFile(new URL(path, import.meta.url), "utf8");
const base64 = async (path) => (await readFile(new URL(path, import.meta.url))).toString("base64");
const fixtures = "../../fixtures/lstm";
const given = {
    wasm: await base64("../amq.wasm"),
    model: await base64(`${fixtures}/model.amq`),
    vocabulary: await base64(`${fixtures}/vocab.txt`),
    stream: await base64(`${fixtures}/stream.txt`),
};
const pairs = Object.entries(given).map(([name, value]) => `${name}: "${value}"`);
const demo = (await text("demo.js")).replace("/* given */", () => pairs.join(", "));
const library = await text("../amq.js");
const page = (await text("page.html")).replace("/* amq.js */", () => library).replace("/* demo.js */", () => demo);
await writeFile(process.argv[2], page);
