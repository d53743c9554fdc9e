"""How it travels: from one node's ledger to another's, over libp2p.

Where there is much to decide (gossip, sync, fetching blobs) it is decided sans-IO: bytes, time and what
happened come in, actions come out, and a file `…_io` beside it waits for peers with trio.

    links       host (the one interface)  links  listening  identity  stream
                what is changed of libp2p: assembly  muxer  keepalive  gossipsub_tuning  transports
    gossip      gossip  gossip_io  topic              what is new is announced, and may be lost
    sync        sync  sync_actions  sync_io           the asking side: what was lost is fetched
                sync_answers  sync_answering          the answering side;  sync_messages  the words of both
                snapshot_io                           a first start that asks for a snapshot
    blobs       blobs  blobs_pins                     the store of blocks, and what must stay in it
                blobs_fetch  blobs_peer  blobs_actions  blobs_serve  blobs_io
    peers       discovery  mdns  peer_exchange        who else there is
                blame  bandwidth                      who misbehaved; how much may pass
                fleet                                 machines of one account tell each other what they do

Knows peers, streams, frames and deadlines. Does not know what an event means, nor who may act for whom.

What must always hold: every wait for a peer has a deadline; whatever a peer sends is bounded before it is
read, and ends neither host nor node.
"""
