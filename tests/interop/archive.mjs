// Audits what an archive says about itself, with stock npm packages and nothing of Fog's: @ipld/car for the
// file, @ipld/dag-cbor for the blocks, noble for the signatures. Reads the archive from standard input and
// writes {roots, blocks, events, height} as JSON; throws at the first thing that is not true.
import { readFileSync } from "node:fs";
import { CarReader } from "@ipld/car";
import * as cbor from "@ipld/dag-cbor";
import { CID } from "multiformats/cid";
import { sha256 } from "multiformats/hashes/sha2";
import { ed25519 } from "@noble/curves/ed25519.js";

const equal = (one, other) => Buffer.compare(one, other) === 0;
const must = (holds, what) => { if (!holds) throw new Error(what); };
const signed = (domain, message, signature, key) =>
  ed25519.verify(signature, Buffer.concat([Buffer.from(domain), message]), key);

const reader = await CarReader.fromBytes(readFileSync(0));
const roots = await reader.getRoots();
const blocks = [];
for await (const { cid, bytes } of reader.blocks()) {
  must(cid.equals(CID.createV1(cbor.code, await sha256.digest(bytes))), `hash of ${cid}`);
  const value = cbor.decode(bytes);
  must(equal(cbor.encode(value), bytes), `canonical form of ${cid}`);
  blocks.push({ cid, bytes, value });
}

let at = 0, events = 0, height = 0, last = null;
const next = () => blocks[at++];
const genesis = next();
const stakes = genesis.value.validators.map(({ key, stake }) => [Buffer.from(key).toString("hex"), stake]);
const total = stakes.reduce((sum, [, stake]) => sum + stake, 0);

// A quorum's word, with the phases that may say it, about a checkpoint.
const certified = (certificate, phases, { cid, value }) => {
  const { epoch, slot, phase, checkpoint } = certificate;
  must(checkpoint.equals(cid) && epoch === value.epoch && phases.includes(phase), "certificate");
  let weight = 0;
  for (const { by, ts, sig } of certificate.votes) {
    const vote = { net: genesis.cid, epoch, slot, phase, checkpoint, ts };
    must(signed("fogledger/v1/vote\n", cbor.encode(vote), sig, by), "vote");
    weight += Object.fromEntries(stakes)[Buffer.from(by).toString("hex")];
  }
  must(3 * weight > 2 * total, "quorum");
};

while (at < blocks.length - 1) {
  const checkpoint = next();
  must(checkpoint.value.height === height + 1, `height after ${height}`);
  must(last === null ? checkpoint.value.parent === null : checkpoint.value.parent.equals(last.cid), "parent");
  if (last !== null) {
    const shown = next();
    must(checkpoint.value.cert.equals(shown.cid), "the parent's certificate");
    certified(shown.value, [1, 2], last);
  }
  const delta = next();
  must(checkpoint.value.delta.equals(delta.cid), "delta");
  for (const id of delta.value) {
    const event = next(), signature = next().value, body = next();
    must(event.cid.equals(id) && signature.h.equals(id), `event ${id}`);
    must(event.value.net.equals(genesis.cid), `network of ${id}`);
    must(event.value.body.equals(body.cid) && event.value.bl === body.bytes.length, `body of ${id}`);
    must(signed("fogledger/v1/event\n", event.bytes, signature.s, event.value.by), `signature of ${id}`);
    events += 1;
  }
  last = checkpoint;
  height += 1;
}
if (last !== null) certified(next().value, [2], last);
must(roots[roots.length - 1].equals(genesis.cid) && (last === null || roots[0].equals(last.cid)), "roots");
console.log(JSON.stringify({ roots: roots.map(String), blocks: blocks.length, events, height }));
