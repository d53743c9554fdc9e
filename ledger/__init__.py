"""What was said, by whom, in what order.

The bottom layer: canonical bytes, identities and the one signature rule, events, lanes and the event
DAG, cuts and their canonical order, finality votes, Merkle trees, the SQL store, archives and audit.

Knows bytes, hashes, keys and order. Does not know what a job or a balance is, how bytes travel, or
what time it is: time and randomness are arguments everywhere in this package.
"""
