// Checks archives of `fog export` with stock packages and nothing of Fog's:
//
//     npm install && node verify.mjs log.car      # exit 1: not true; 2: cannot be read
//
// True means: this is the one history that the network, named by its genesis, made final. Every event is signed,
// in its place and in the agreed order, and more than two thirds of each epoch's stake signed what the chain claims.
// Not done here is executing the events: that balances (the root of the state) and receipts follow from them, and who
// the validators of later epochs are, is the word of those quorums. `fog audit` executes; it also knows which
// characters are younger than Unicode 14.
import { createHash, createPublicKey, verify as check } from "node:crypto";
import { readFileSync } from "node:fs";
import { ed25519 } from "@noble/curves/ed25519.js";
import { varint } from "multiformats";
import { CID } from "multiformats/cid";
import { create } from "multiformats/hashes/digest";

// Two habits of the packages would have them read other text and other maps than were signed. A TextDecoder leaves
// out a U+FEFF that a text begins with, and whatever has the fields of a link is taken for one: {"/": 1, "bytes": 1}.
globalThis.TextDecoder = class extends TextDecoder {
  constructor(label, options) { super(label, { ...options, ignoreBOM: true }); }
};
CID.asCID = (value) => (value instanceof CID ? value : null);
const { CarReader } = await import("@ipld/car"), cbor = await import("@ipld/dag-cbor"); // not before: it is made then

const must = (holds, what) => { if (!holds) throw new Error(what); };
const sha256 = (...parts) => parts.reduce((hash, part) => hash.update(part), createHash("sha256")).digest();
const cidOf = (bytes) => CID.createV1(cbor.code, create(0x12, sha256(bytes)));
const equal = (one, other) => Buffer.compare(one, other) === 0;
const hex = (bytes) => Buffer.from(bytes).toString("hex");
const rising = (items) => items.every((item, at) => at === 0 || Buffer.compare(items[at - 1], item) < 0);
const ED25519 = Buffer.from("302a300506032b6570032100", "hex"); // in DER, before the 32 bytes of a key

function isSigned(domain, bytes, by, sig) { // by the network's rule, ZIP215: noble's default
  const message = Buffer.concat([Buffer.from(`fogledger/v1/${domain}\n`), bytes]);
  try { // OpenSSL is stricter and quicker: its yes will do
    if (check(null, message, createPublicKey({ key: Buffer.concat([ED25519, by]), format: "der", type: "spki" }), sig)) return true;
  } catch { /* not even a key to it */ }
  return ed25519.verify(sig, message, by);
}

const NOTARIZE = 1, FINALIZE = 2, ZERO = Uint8Array.of(0), ONE = Uint8Array.of(1);

// -- forms: closed maps of canonical DAG-CBOR ------------------------------------------------------------------------

const is = (number) => (value) => value === number;
const isInt = (value) => (Number.isInteger(value) || typeof value === "bigint") && value >= 0 && value < 2n ** 63n;
const isBytes = (size) => (value) => value instanceof Uint8Array && value.length === size;
const isText = (value) => typeof value === "string" && value.isWellFormed() && value === value.normalize("NFC");
const isName = (value) => isText(value) && value !== "" && [...value].length <= 255;
const upTo = (most) => (value) => isInt(value) && value >= 1 && value <= most;
const isCid = (value) => value instanceof CID && value.version === 1 && [0x55, 0x71].includes(value.code)
  && value.multihash.code === 0x12 && value.multihash.digest.length === 32;
const orNull = (form) => (value) => value === null || form(value);
const listOf = (form, most) => (value) => Array.isArray(value) && value.length <= most && value.every(form);
const isObject = (value) => value !== null && Object.getPrototypeOf(value) === Object.prototype;
const isMap = (fields, optional = {}) => (value) => isObject(value)
  && Object.keys(fields).every((name) => Object.hasOwn(value, name))
  && Object.entries(value).every(([name, item]) =>
    [fields, optional].some((forms) => Object.hasOwn(forms, name) && forms[name](item)));

const key = isBytes(32), root = isBytes(32), sig = isBytes(64);
const VALIDATORS = listOf(isMap({ key, stake: isInt }), 100);
const GENESIS = isMap({
  v: is(1), name: isName, created: isInt, rules: upTo(2 ** 31), validators: VALIDATORS,
  accounts: listOf(isMap({ account: key, amount: isInt }), Infinity),
  params: (value) => isObject(value) && Object.entries(value).every(([name, item]) => isName(name) && isInt(item)),
});
const CHECKPOINT = isMap({
  v: is(2), net: isCid, epoch: isInt, slot: isInt, height: isInt, parent: orNull(isCid), cert: orNull(isCid),
  tips: listOf(isCid, 64), delta: isCid, n: isInt, eroot: root, sroot: root, rroot: root, T: isInt, vnext: isCid,
});
const CERTIFICATE = isMap({
  t: is("certificate"), v: is(2), net: isCid, epoch: isInt, slot: isInt, phase: isInt, checkpoint: isCid,
  votes: listOf(isMap({ by: key, ts: isInt, sig }), 100),
});
const HEADER = isMap({
  v: is(1), net: isCid, by: key, lane: isInt, seq: isInt, lc: isInt, ts: isInt, k: isName, kv: upTo(2 ** 31),
  body: isCid, bl: isInt,
}, { prev: isCid, par: listOf(isCid, 8), acct: key, exp: isInt });
const SIGNATURE = isMap({ h: isCid, s: sig });

function isPlain(value, depth = 0) { // not what DAG-CBOR allows beyond that: other numbers, text not in NFC, too deep
  if (typeof value === "number" || typeof value === "bigint") return isInt(value);
  if (typeof value === "string") return isText(value);
  if (value === null || typeof value === "boolean" || value instanceof Uint8Array) return true;
  if (value instanceof CID) return isCid(value);
  return depth < 8 && Object.entries(value).every(([name, item]) => isText(name) && isPlain(item, depth + 1));
}

async function read(file) { // CAR v1: every block under the hash of its bytes, and not a byte beside
  const section = (...parts) => {
    const size = parts.reduce((sum, part) => sum + part.length, 0);
    return [varint.encodeTo(size, new Uint8Array(varint.encodingLength(size))), ...parts];
  };
  const reader = await CarReader.fromBytes(file);
  const roots = await reader.getRoots(), blocks = [], again = section(cbor.encode({ roots, version: 1 }));
  for await (const { cid, bytes } of reader.blocks()) {
    must(bytes.length <= 256 * 1024, "size: a block is larger than a genesis may be");
    must(cid.equals(cidOf(bytes)), "hash: a block is not what its name says");
    const value = cbor.decode(bytes);
    must(equal(cbor.encode(value), bytes) && isPlain(value), "canonical: a block is not written in the one way");
    blocks.push({ cid, bytes, value });
    again.push(...section(cid.bytes, bytes));
  }
  must(equal(Buffer.concat(again), file), "car: the file has bytes beside its blocks");
  return { roots, blocks };
}

// -- who signs --------------------------------------------------------------------------------------------------------

function setOf(validators) { // key -> stake
  must(VALIDATORS(validators) && validators.length > 0, "validators: not of their form");
  must(rising(validators.map((one) => one.key)), "validators: not sorted, or one twice");
  must(validators.every((one) => one.stake > 0), "validators: one without stake");
  return new Map(validators.map((one) => [hex(one.key), BigInt(one.stake)]));
}

function certified(block, parent, phases, stakes) { // the votes, when more than two thirds of the stake signed them
  must(CERTIFICATE(block.value) && block.bytes.length <= 32 * 1024, "certificate: not of its form");
  const { net, epoch, slot, phase, checkpoint, votes } = block.value, about = parent.value;
  must(checkpoint.equals(parent.cid) && net.equals(about.net) && epoch === about.epoch && slot >= about.slot,
    "certificate: of another checkpoint");
  must(phases.includes(phase), "certificate: of another phase");
  must(rising(votes.map((vote) => vote.by)), "certificate: votes not sorted, or one twice");
  must(votes.every((vote) => stakes.has(hex(vote.by))), "certificate: a vote of no validator");
  const sum = (keys) => keys.reduce((total, one) => total + stakes.get(one), 0n);
  must(3n * sum(votes.map((vote) => hex(vote.by))) > 2n * sum([...stakes.keys()]),
    "certificate: not more than two thirds of the stake");
  for (const { by, ts, sig } of votes)
    must(isSigned("vote", cbor.encode({ net, epoch, slot, phase, checkpoint, ts }), by, sig), "certificate: a vote not signed");
  return votes;
}

function median(votes, stakes) { // the first vote time with half of the voting stake at or before it
  const sorted = [...votes].sort((one, other) => (one.ts < other.ts ? -1 : one.ts > other.ts ? 1 : 0));
  const stake = (vote) => stakes.get(hex(vote.by)), total = sorted.reduce((sum, vote) => sum + stake(vote), 0n);
  let weight = 0n;
  return BigInt(sorted.find((vote) => 2n * (weight += stake(vote)) >= total).ts);
}

// -- the history ------------------------------------------------------------------------------------------------------

async function verify(file, say) {
  const { roots, blocks } = await read(file);
  let taken = 0;
  const next = (what) => blocks[taken++] ?? must(false, `end: the file ends where ${what} should be`);
  const genesis = next("the genesis"), net = genesis.cid;
  must(GENESIS(genesis.value), "genesis: not of its form");
  must(rising(genesis.value.accounts.map((one) => one.account)), "genesis: accounts not sorted, or one twice");
  const money = [...genesis.value.accounts.map((one) => one.amount), ...genesis.value.validators.map((one) => one.stake)];
  must(isInt(money.reduce((sum, one) => sum + BigInt(one), 0n)), "genesis: more money than a number holds");
  must(roots.at(-1)?.equals(net), "roots: the last one is not the genesis");
  const length = Number(genesis.value.params.epoch_checkpoints ?? 600) || 1; // heights in an epoch
  const sets = [setOf(genesis.value.validators)]; // by epoch; the first two have those of genesis
  let named = cidOf(cbor.encode(genesis.value.validators)); // what `vnext` named last
  let parent = null, time = BigInt(genesis.value.created);
  const places = new Map(), tree = { count: 0, peaks: [] };

  while (taken < blocks.length) {
    const block = next("a checkpoint"), checkpoint = block.value;
    if (checkpoint?.t === "certificate") {
      say("the end");
      must(parent !== null, "end: there is nothing to be final");
      certified(block, parent, [FINALIZE], sets[parent.value.epoch]);
      must(taken === blocks.length, "end: blocks behind the end");
      must(roots.length === 2 && roots[0].equals(parent.cid), "roots: the first one is not the last checkpoint");
      return `network ${net} up to height ${parent.value.height}, ${places.size} events`;
    }

    // the checkpoint, its validators, and the certificate that shows its parent
    const height = (parent?.value.height ?? 0) + 1, epoch = Math.floor((height - 1) / length);
    say(`height ${height}`);
    must(CHECKPOINT(checkpoint) && block.bytes.length <= 8 * 1024, "checkpoint: not of its form");
    must(checkpoint.net.equals(net), "checkpoint: of another network");
    must(checkpoint.height === height && checkpoint.epoch === epoch, "checkpoint: wrong height or epoch");
    must(parent === null ? checkpoint.parent === null : checkpoint.parent?.equals(parent.cid), "checkpoint: of another parent");
    must(checkpoint.slot > (parent?.value.epoch === epoch ? parent.value.slot : 0), "checkpoint: its slot does not rise");
    sets[epoch + 1] ??= sets[epoch];
    if (!checkpoint.vnext.equals(named)) {
      must(epoch > 0 && (height - 1) % length === 0, "checkpoint: other validators within an epoch");
      const members = next("validators");
      must(members.cid.equals(checkpoint.vnext), "validators: not those that the checkpoint names");
      sets[epoch + 1] = setOf(members.value);
      named = members.cid;
    }
    if (parent === null) must(checkpoint.cert === null, "checkpoint: a certificate of nothing");
    else {
      const shown = next("a certificate"), before = parent.value.epoch;
      must(checkpoint.cert?.equals(shown.cid), "certificate: not the one that the checkpoint names");
      const votes = certified(shown, parent, before === epoch ? [NOTARIZE, FINALIZE] : [FINALIZE], sets[before]);
      const seen = median(votes, sets[before]);
      if (seen > time) time = seen - 1n;
    }
    time += 1n;
    must(BigInt(checkpoint.T) === time, "checkpoint: its time is not the median of the votes");

    // the events
    const delta = next("a delta"), ids = delta.value, fresh = new Map();
    must(delta.cid.equals(checkpoint.delta), "delta: not the one that the checkpoint names");
    must(listOf(isCid, 2000)(ids), "delta: not a list of ids");
    let bytes = 0;
    for (const id of ids) {
      const header = next("an event"), signature = next("a signature"), body = next("a body");
      must(header.cid.equals(id) && !places.has(`${id}`), "delta: another event, or one again");
      const place = placeOf(header, signature, body, net, places);
      places.set(`${id}`, place);
      fresh.set(`${id}`, place);
      bytes += cbor.encode({ h: header.bytes, s: signature.value.s, b: body.bytes }).length;
    }
    must(bytes <= 2 * 1024 * 1024, "delta: too large");
    checkCut(checkpoint.tips, ids, fresh, places, (parent?.cid ?? net).bytes);

    // the event tree (RFC 6962): the ids, then what ends the checkpoint
    for (const id of ids) append(tree, id.bytes);
    append(tree, cbor.encode({ height, sroot: checkpoint.sroot, rroot: checkpoint.rroot }));
    const eroot = tree.peaks.reduceRight((right, left) => sha256(ONE, left, right));
    must(checkpoint.n === tree.count && equal(checkpoint.eroot, eroot), "checkpoint: another root of events");
    parent = block;
  }
  must(parent === null, "end: nothing makes the last checkpoint final");
  must(roots.length === 1, "roots: more than the genesis");
  return `network ${net}, before its first checkpoint`;
}

function placeOf(header, signature, body, net, places) { // where an event stands, if it may stand there
  const event = header.value;
  must(HEADER(event) && header.bytes.length <= 1024 && event.lane <= 2 && event.lc > 0, "event: not of its form");
  must(event.net.equals(net), "event: of another network");
  must(SIGNATURE(signature.value) && signature.value.h.equals(header.cid), "event: not followed by its signature");
  must(isSigned("event", header.bytes, event.by, signature.value.s), "event: not signed by its author");
  must(event.body.equals(body.cid) && event.bl === body.bytes.length, "event: another body");
  must(event.bl <= (event.lane === 2 ? 64 : 16) * 1024, "event: its body is too large");
  must(!event.acct || !equal(event.acct, event.by), "event: on behalf of itself");
  must(event.par?.length !== 0, "event: an empty field");
  const lane = `${hex(event.by)}/${event.lane}`, above = [...(event.prev ? [event.prev] : []), ...(event.par ?? [])];
  const known = above.map((id) => places.get(`${id}`)), prev = event.prev && known[0];
  must(known.every(Boolean), "event: before what it builds on");
  must(event.prev ? prev.lane === lane && prev.seq + 1 === event.seq : event.seq === 0, "event: does not continue its lane");
  must(!event.prev || event.ts >= prev.ts, "event: before its own past");
  must(rising((event.par ?? []).map((id) => id.bytes)), "event: parents not sorted, or one twice");
  must(known.slice(event.prev ? 1 : 0).every((one) => one.lane !== lane), "event: a parent in its own lane");
  must(event.lc === 1 + Math.max(0, ...known.map((one) => one.lc)), "event: wrong logical time");
  return { lane, seq: event.seq, lc: event.lc, ts: event.ts, above };
}

function checkCut(tips, ids, fresh, places, salt) { // exactly what the tips reach, in the one order
  must(rising(tips.map((tip) => tip.bytes)) && tips.every((tip) => places.has(`${tip}`)), "tips: not sorted, or unknown");
  must(tips.every((tip) => fresh.has(`${tip}`)), "tips: one that was ordered before");
  const reached = new Set(), ahead = [...tips];
  while (ahead.length > 0) {
    const id = `${ahead.pop()}`;
    if (!fresh.has(id) || reached.has(id)) continue;
    reached.add(id);
    ahead.push(...fresh.get(id).above);
  }
  must(reached.size === ids.length, "delta: not what the tips reach");
  const below = new Set(ids.flatMap((id) => fresh.get(`${id}`).above.map(String)));
  must(!tips.some((tip) => below.has(`${tip}`)), "tips: one below another");
  const lc = ids.map((id) => fresh.get(`${id}`).lc), luck = ids.map((id) => sha256(salt, id.bytes));
  const follows = (at) => lc[at - 1] < lc[at] || (lc[at - 1] === lc[at] && Buffer.compare(luck[at - 1], luck[at]) < 0);
  must(ids.every((_, at) => at === 0 || follows(at)), "delta: not in the one order");
}

function append(tree, leaf) { // `peaks` are the full subtrees, from the largest: one for each 1 in the bits of `count`
  let peak = sha256(ZERO, leaf);
  for (let full = tree.count; full % 2 === 1; full = Math.floor(full / 2)) peak = sha256(ONE, tree.peaks.pop(), peak);
  tree.peaks.push(peak);
  tree.count += 1;
}

for (const name of process.argv.slice(2)) {
  let file, where = "the file";
  try {
    file = readFileSync(name);
  } catch (error) { // not there, or above the 2 GiB that Node reads at once: that says nothing of what is in it
    console.log(`${name}: cannot be read: ${error.message}`);
    process.exitCode ??= 2;
    continue;
  }
  try {
    console.log(`${name}: true, ${await verify(file, (place) => { where = place; })}`);
  } catch (error) {
    console.log(`${name}: not true, ${where}: ${error.message.split("\n")[0]}`);
    process.exitCode = 1;
  }
}
