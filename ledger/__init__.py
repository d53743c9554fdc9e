"""What was said, by whom, in what order.

The bottom layer: canonical bytes, identities and the one signature rule, events, lanes and the event
DAG, cuts and their canonical order, finality votes, Merkle trees, the SQL store, archives and audit.

    replica      one node's copy, and the only way to change it; begin here.  standing  memory  reactions

    bytes        canonical  alphabet  types  cid  blob  errors
    signatures   signing  zip215  verifying
    events       event  header_grammar  summary  authorship  genesis
                 admission  allowance  dag  pending  heads    from bytes to an event that stands
                 forks  rivals  warrants  evidence  found        proofs of what somebody did wrong
    order        order  cut  execution  checkpoint     from events to one sequence, receipts and roots
                 state  state_parts  merkle_map  validators
    finality     vote_rule  simplex  slots  voter_actions        what a validator says; pure
                 votes  finality  runs                 what was said, and what it proves
                 voting  candidates  proposals  judging  occasion  pace  hindsight
                 ballot_box  rejoining  retelling      what was said before, kept and told again
    trees        merkle  tiles  proofs  proving  notes  witness
    store        store  event_rows  outcomes  tables  database  opening  restart  lanes  recorder  pruning
    sync         holdings  item_set  reconcile  reconcile_frames
    snapshots    snapshot  snapshot_folder  shelf  light  beginning
    archives     car  archive  audit  importing
                 ahead  events_of_archives  verifying_processes  garbage        on several cores

Knows bytes, hashes, keys and order. Does not know what a job or a balance is, how bytes travel, or
what time it is: time and randomness are arguments everywhere in this package.
"""
