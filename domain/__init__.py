"""What it means: typed payloads of every event kind and the pure rules that execute them.

    payloads  effects  limits    what events say, what receipts say, bounds of both
    vouchers                     money that is spent without a network
    rules                        what every event does
    compute                      the sandbox                                    ) these touch the machine;
    harvest                      when this machine may work for others          ) rules import none of them
    work                         what this node must remember of its own work   )

Knows money, jobs, leases, stake and identities. Does not know how events travel, nor how they became final.

What must always hold: integers only; no clock, no randomness, no I/O and no dictionary or set order in
anything that reaches the state root.
"""
