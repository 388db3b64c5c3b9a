// Hits of xec's own `.cache()`: for each number on stdin, so many hits, and the seconds that one took on stdout.
// `asks FILE` makes 1,000 equal asks at once of a command that notes each of its executions in FILE.
// NODE_MODULES names the directory in which `npm install @xec-sh/core` was run.
import { createInterface } from "node:readline";
import path from "node:path";
import { pathToFileURL } from "node:url";

const root = process.env.NODE_MODULES;
const { $ } = await import(pathToFileURL(path.join(root, "@xec-sh/core/dist/index.js")).href);
const hit = () => $`echo hello`.cache({ ttl: 3_600_000 });
for (let i = 0; i < 50; i++) await hit();
console.log("ready");
for await (const line of createInterface({ input: process.stdin })) {
  const [word, file] = line.split(" ");
  const begun = process.hrtime.bigint();
  const count = word === "asks" ? 1 : Number(word);
  if (word === "asks") {
    const asks = Array.from({ length: 1000 }, () => $`echo ran >> ${file}; sleep 0.3`.cache({ ttl: 3_600_000 }));
    await Promise.all(asks);
  } else for (let i = 0; i < count; i++) await hit();
  console.log(Number(process.hrtime.bigint() - begun) / 1e9 / count);
}
