// A node made of stock js-libp2p that meets one of ours. Argument: JSON with `address`, `net`, `topic`, `expect`.
//
// It dials, pings, identifies, asks /fog/sync/3 for everything, listens to the events topic until `expect`
// events came, then publishes one event that it signed itself. Each step is told as a line of JSON. It trusts
// nothing: every event is decoded, encoded again, hashed, and its signature checked with noble (ZIP215).

// Node 20 lacks both; they must be there before libp2p is loaded, hence the dynamic imports below.
Promise.withResolvers ??= function () {
  let resolve, reject
  const promise = new this((a, b) => { resolve = a; reject = b })
  return { promise, resolve, reject }
}
globalThis.WebSocket ??= (await import('ws')).WebSocket

const { createLibp2p } = await import('libp2p')
const { tcp } = await import('@libp2p/tcp')
const { webSockets } = await import('@libp2p/websockets')
const { noise } = await import('@chainsafe/libp2p-noise')
const { yamux } = await import('@chainsafe/libp2p-yamux')
const { gossipsub } = await import('@libp2p/gossipsub')
const { identify } = await import('@libp2p/identify')
const { ping } = await import('@libp2p/ping')
const { multiaddr } = await import('@multiformats/multiaddr')
const { CID } = await import('multiformats/cid')
const { sha256 } = await import('multiformats/hashes/sha2')
const dagCbor = await import('@ipld/dag-cbor')
const { ed25519 } = await import('@noble/curves/ed25519.js')

const { address, net, topic, expect } = JSON.parse(process.argv.at(-1))
const SYNC = '/fog/sync/3'
const EVENT_DOMAIN = new TextEncoder().encode('fogledger/v1/event\n')
const tell = (what) => console.log(JSON.stringify(what))
const concat = (...parts) => Uint8Array.from(Buffer.concat(parts))
const same = (a, b) => Buffer.compare(Buffer.from(a), Buffer.from(b)) === 0
const cidOf = async (bytes) => CID.createV1(dagCbor.code, await sha256.digest(bytes))

// -- events

async function check (wire) {
  const { h, s, b } = dagCbor.decode(wire)
  const header = dagCbor.decode(h)
  const ok = same(dagCbor.encode({ h, s, b }), wire) && same(dagCbor.encode(header), h) &&
    header.net.equals(CID.parse(net)) && header.body.equals(await cidOf(b)) && header.bl === b.length &&
    ed25519.verify(s, concat(EVENT_DOMAIN, h), header.by)
  return { id: (await cidOf(h)).toString(), ok }
}

async function sign (text) {
  const { secretKey, publicKey } = ed25519.keygen()
  const b = dagCbor.encode({ text })
  const h = dagCbor.encode({
    v: 1, net: CID.parse(net), by: publicKey, lane: 0, seq: 0, lc: 1, ts: 1700000000000, k: 'note', kv: 1,
    body: await cidOf(b), bl: b.length
  })
  return dagCbor.encode({ h, s: ed25519.sign(concat(EVENT_DOMAIN, h), secretKey), b })
}

// -- frames: 4 bytes of length, then DAG-CBOR

function frames (stream) {
  const chunks = stream[Symbol.asyncIterator]()
  let rest = Buffer.alloc(0)
  const take = async (n) => {
    while (rest.length < n) {
      const { value, done } = await chunks.next()
      if (done) throw new Error('the stream ended')
      rest = Buffer.concat([rest, value.subarray()])
    }
    const taken = rest.subarray(0, n)
    rest = rest.subarray(n)
    return Uint8Array.from(taken)
  }
  return {
    read: async () => dagCbor.decode(await take(Buffer.from(await take(4)).readUInt32BE())),
    write: (value) => {
      const data = dagCbor.encode(value)
      const head = Buffer.alloc(4)
      head.writeUInt32BE(data.length)
      stream.send(concat(head, data))
    }
  }
}

// -- a reconciliation of one who has nothing: whoever answers lists all it has, in one span up to the end

const ITEMS = 2
const EVERYTHING = 4
const HEAD_SIZE = 32 + 1 + 8 + 32 // key, lane, seq, digest of the id

function listed (frame) {
  if (frame[0] !== (EVERYTHING | ITEMS) || frame[1] > 127) throw new Error('more than one span, or many heads')
  const heads = []
  let before = new Uint8Array(0)
  for (let at = 2; at < frame.length;) {
    const shared = frame[at++]
    before = concat(before.subarray(0, shared), frame.subarray(at, at + HEAD_SIZE - shared))
    at += HEAD_SIZE - shared
    heads.push([before.subarray(0, 32), before[32], Number(Buffer.from(before).readBigUInt64BE(33))])
  }
  if (heads.length !== frame[1]) throw new Error('not as many heads as it says')
  return heads
}

async function pullEverything (node, peer) {
  const stream = await node.dialProtocol(peer, SYNC)
  const { read, write } = frames(stream)
  write({
    t: 'hello', net: CID.parse(net), height: 0, checkpoint: null, heads: new Uint8Array(32), unordered: new Uint8Array(16)
  })
  const hello = await read()
  write({ t: 'get_heads', frame: Uint8Array.of(EVERYTHING | ITEMS, 0), limit: 65536 }) // we list nothing
  const heads = listed((await read()).frame)
  write({ t: 'get_ranges', ranges: heads.map(([by, lane, seq]) => [by, lane, 0, seq]) })
  const checked = []
  for (let answer = { end: false }; !answer.end;) {
    answer = await read()
    for (const [, wire] of answer.events) checked.push(await check(wire))
  }
  await stream.close()
  return { hello: hello.t, height: hello.height, lanes: heads.length, checked }
}

// -- the meeting

const node = await createLibp2p({
  transports: [tcp(), webSockets()],
  connectionEncrypters: [noise()],
  streamMuxers: [yamux()],
  services: {
    identify: identify(),
    ping: ping(),
    pubsub: gossipsub({
      allowPublishToZeroTopicPeers: true,
      msgIdFn: async (m) => (await sha256.digest(concat(new TextEncoder().encode(m.topic), m.data))).digest
    })
  }
})
await node.start()
const identified = new Promise((resolve) =>
  node.addEventListener('peer:identify', (event) => resolve(event.detail), { once: true }))
const { pubsub } = node.services

const heard = []
const all = Promise.withResolvers()
pubsub.addEventListener('message', async (event) => {
  if (event.detail.topic !== topic) return
  for (const wire of dagCbor.decode(event.detail.data)) heard.push(await check(wire))
  if (heard.length >= expect) all.resolve()
})

const connection = await node.dial(multiaddr(address))
tell({ step: 'dial', encryption: connection.encryption, muxer: connection.multiplexer })
tell({ step: 'ping', ms: await node.services.ping.ping(connection.remotePeer) })
const { protocols, listenAddrs } = await identified
tell({ step: 'identify', protocols, addresses: listenAddrs.map(String) })
tell({ step: 'sync', ...await pullEverything(node, connection.remotePeer) })

pubsub.subscribe(topic)
while (!pubsub.getMeshPeers(topic).length) await new Promise((resolve) => setTimeout(resolve, 50))
tell({ step: 'subscribed' })
await all.promise
tell({ step: 'gossip', checked: heard })

await pubsub.publish(topic, dagCbor.encode([await sign('from JavaScript')]))
tell({ step: 'published' })
process.stdin.resume()
process.stdin.on('end', async () => { await node.stop(); process.exit(0) })
