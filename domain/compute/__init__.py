"""The sandbox: a stranger's program, run so that any other machine gets the same bytes and the same fuel.

    programs   what a person has -> a program      spec      what a job asks, what a run found
    engine     what is pinned, and its digest      sandbox   parent: one child a shard (process, task)
    child      the process: walls (confine), compiled modules (modules), a run (guest)
    wasi       a run's world: layout (preview1), open files (handles), files (tree)

Rules never import this package; only `sandbox`, `process` and `programs` know trio.
"""
