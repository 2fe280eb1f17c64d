// Calls every function that the module exports and says what it answered; a trap ends it with an error.
import { readFile } from "node:fs/promises";

const { instance } = await WebAssembly.instantiate(await readFile(process.argv[2]), {});
const tests = Object.entries(instance.exports).filter(([name, it]) => it instanceof Function && !name.startsWith("__"));
if (tests.length < 5) throw new Error(`${tests.length} tests`);
for (const [name, test] of tests) {
  const answer = test();
  console.log(`test ${name} ... ${answer}`);
  if (name === "what_goes_back_is_used_again" ? answer > 4 << 20 : answer < 1) throw new Error(name);
}
