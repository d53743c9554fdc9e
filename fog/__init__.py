"""The program: the command line, the configuration, and a node put together from the parts.

The only package that reads configuration or the environment. Rules and protocols below it take time and
randomness as arguments; of what does their I/O, some parts read a clock.

    node          where all parts meet; begin here

    people        cli (the commands)  exits (codes and errors)  quantities  texts
                  lines (printable ones):  invite  voucher_line
    directory     paths  keys  settings (each, with its range)  config (where it came from)  founders
    being asked   control (the socket)  methods (what can be asked)  handlers (the answers);  of each subject
                  its own, `…_methods` and `…_handlers`: blob collect escrow fleet harvest identity stake
                  watching workflow;  fleet (what this device tells of itself)
    the ledger    replica_thread  exchange (events)  validating (votes)  tempo  seats (who decides)
                  own_head  said  outbox (what we said, and who has it)  accuser (faults of others)
                  fast_start  acquaintances  export  pruning  room (on the disk)
                  cosigning  witness  post (notes, and those who cosign them)
                  agenda (what we owe and are owed)  pulse  live (what the API is told)
    lending       worker  offering  ahead  share  breath  provisions  program_files  specs  runtimes
                  harvesting  gate  harvest_record (when the owner lets us)
    submitting    jobfile (YAML to steps)  workflows  step_inputs  layout
                  submitter  jobs  bringing  results  patience  outputs  places  pinning
    from Python   executor  task_job  task_source  task_wire
    played        demo  players (nodes as processes)  sim (the simulator)
"""
