"""Job files: YAML that a person wrote, to steps that a node can run, or to every mistake with its place.

    tree     bounded YAML, in which each value knows its line
    schema   the fields, their types and their words; docs/job.schema.json is made from it
    fit      tree and schema to structs
    sweep    lists of values to points, points to arguments
    steps    which step waits for which
    terms    amounts, times and limits
    inputs   files by name or pattern
    problems what is wrong, with its place
    plan     all of it together, with the files and programs that are named

What must always hold: a file is taken as a whole or not at all; a mistake is told with the file, the line,
the field, what is written there and what to write instead; all mistakes that can be seen at once are told at
once.
"""
