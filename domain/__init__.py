"""What it means: typed payloads of every event kind and the pure rules that execute them.

Accounts, escrow, jobs, offers, leases, checks, reputation. Integers only; no clock, no randomness, no I/O and
no dictionary or set order in anything that reaches the state root. Two folders beside the rules touch the
machine: `domain.compute` (the sandbox) and, later, `domain.harvest`; rules never import them.
"""
