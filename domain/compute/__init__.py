"""The sandbox: a stranger's program, run so that any other machine gets the same bytes and the same fuel.

    programs   what a person has -> a program      compilers  scripts  python_modules  inspection
    spec       what a job asks, what a run found   engine     what is pinned, and its digest
    sandbox    parent: one child a shard           process  task  template  forking  cgroups  usage  aside
                                                   cache (compiled modules, kept)
    child      the process of one shard            confine and calls (walls)  modules  guest (a run)
    wasi       a run's world, answered from memory preview1 (layout)  handles (open files)  tree (files)

Rules never import this package; the child's side does not know trio.
"""
