"""The simulator: a whole network in one thread, on virtual time, under a seed; and what must hold of it.

The parts are the real ones: `ledger.replica` on SQLite (in memory), the rules of `domain`, the asking and
answering halves of sync. Only what is not theirs is made here: clocks, links, disks, people, and liars.

    scheduler     virtual time, random streams, the hash of everything that happened
    links         who hears whom, when, and what is lost on the way
    disk          a store that can be cut off, copied, damaged and lost
    node          one honest node: what `fog.exchange` does, without waiting
    voice         how it votes: what `fog.validating` does, without waiting
    ground        what all nodes of a run stand on
    sessions      sync between two nodes over those links
    accusing      what nodes found out about others, said;  beginning  a start from a snapshot
    listening     a start that hears where its lane ends
    adversaries   all liars, and which of those that the design names each is; they hold real keys and use the
                  real encoders (`habits`, `pen`, `liars*`)
    faults        what befalls the honest ones
    workload      what people do meanwhile;  market  and what they work;  phones  by other devices
    observer      sees everything and lets nothing pass;  voters  its book of all votes
    invariants    the sixteen sentences it holds them to;  promptness  one of them;  finale  those for the end
    plan          what a seed decides;  world   all of it together: one run, one report
    campaign      many seeds
    bazaar        another world: workers of whom a third cheat, the rules alone;  traders: one sentence each
    bazaar_plan   what such a run is made from
    bazaar_books  what everybody earned, and six sentences about it

What must always hold: a run is a function of its plan alone. Nothing here reads a clock, the system's random
source or the order of a set; the same seed gives the same trace hash on every machine.
"""
