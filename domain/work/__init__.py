"""What this node must remember about work of its own, beyond what the ledger says: event-sourced aggregates.

    Workflow       steps that were submitted here together, and how far they are
    SubmittedJob   a job that was submitted here: its name, where its outputs go, which results are here
    HeldLease      what a lease was answered with: result, fuel and salt, kept before they are committed to
    Outbox         up to which of our events, in each lane, some peer has shown to hold them

The ledger is the truth about every job and lease: whether it is leased, committed, settled. These are the few
facts that only this node has, so that a node that was killed goes on: with the same commitment, and without
fetching again what it has.

    records    the aggregates, and the events that change them
    workflows  those of workflows
    journal    eventsourcing's application on this node's recorder
    work       what the rest of the program asks
"""

from domain.work.records import HeldLease, Outbox, SubmittedJob
from domain.work.work import Work
from domain.work.workflows import Workflow

__all__ = ["HeldLease", "Outbox", "SubmittedJob", "Work", "Workflow"]
