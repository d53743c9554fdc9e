// Reads [[public, message, signature], ...] in hex from standard input; writes [true, false, ...]: the
// verdicts of noble's ed25519.verify with the options it has by default.
import { readFileSync } from "node:fs";
import { ed25519 } from "@noble/curves/ed25519.js";

const bytes = (hex) => Uint8Array.from(Buffer.from(hex, "hex"));
const cases = JSON.parse(readFileSync(0, "utf8"));
console.log(JSON.stringify(cases.map(([key, message, signature]) =>
  ed25519.verify(bytes(signature), bytes(message), bytes(key)))));
