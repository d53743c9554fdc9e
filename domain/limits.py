"""Bounds that payloads and the sandbox share.

The sandbox's child imports this and not the payloads, which know keys, signatures and votes: to load those
was a tenth of what a child costs before its run.
"""

from __future__ import annotations

from typing import Final

SHARDS_MAX: Final = 4096
"""Shards of one job: its description and the lists of its runs stay readable in one piece."""
