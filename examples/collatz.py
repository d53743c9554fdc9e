"""The longest Collatz chain below a million, found on other people's machines.

fog node                          # in another terminal, with credits and workers about
python examples/collatz.py        # or with another limit: python examples/collatz.py 3000000
"""

import sys

from fog.executor import Executor

STEP = 10_000


def longest_chain(first: int, count: int) -> tuple[int, int]:
    """(length, start) of the longest chain among `count` starts."""
    best = (0, 0)
    for start in range(first, first + count):
        length, n = 1, start
        while n != 1:
            n = n // 2 if n % 2 == 0 else 3 * n + 1
            length += 1
        best = max(best, (length, start))
    return best


def main() -> None:
    limit = int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000
    starts = range(1, limit, STEP)
    with Executor() as fog:
        length, start = max(fog.map(longest_chain, starts, [STEP] * len(starts)))
    print(f"{start} takes {length} steps to 1")


if __name__ == "__main__":
    main()
