"""What people read: tables that are folded from the final order, and the read-only HTTP API over them.

    read models   balances  escrows  log  prices  reputation  schedules  validators
    folding       model (what a read model is)  runner (each entry once)
    asking        reader (one snapshot, one height)  pages (cursors)
    the API       api  endpoints_shared  endpoints_node  endpoints_proofs
                  answers  asking  problems  proofs  told (what these prove)  stream  metrics
                  live (what only a running node knows)  serve (its socket)  dashboard.html

Knows receipts, effects, SQL and HTTP. Does not know a rule, how events travel, or why an effect happened.

What must always hold: a table that is made anew equals one that was folded live; an answer is as of one
checkpoint, which it names; nothing that a reader sends changes anything.
"""
