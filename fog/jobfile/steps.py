"""Which step waits for which: a graph without circles, in the order in which steps can begin.

What must always hold: the order names every step once, each after all that it needs; steps that could begin
together are in the order of the file.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from fog.jobfile.problems import Place, Problem, nearest


def order_of(needs: Mapping[str, Sequence[str]]) -> tuple[list[str], list[tuple[Place, Problem]]]:
    """The steps in order, and what is wrong: places are below `steps`, lines are for the caller to find."""
    problems: list[tuple[Place, Problem]] = []

    def note(place: Place, what: str, remedy: str) -> None:
        problems.append((place, Problem(0, place, what, remedy, "bad_steps")))

    for name, wanted in needs.items():
        for number, other in enumerate(wanted):
            place: Place = (name, "needs", number)
            if other == name:
                note(place, "a step cannot wait for itself", "take it out")
            elif other not in needs:
                note(
                    place,
                    f"there is no step `{other}`",
                    nearest(other, [one for one in needs if one != name]),
                )
            elif other in wanted[:number]:
                note(place, f"`{other}` is there twice", "take one out")
    if problems:
        return [], problems
    ordered: list[str] = []
    left = dict(needs)
    while ready := [name for name, wanted in left.items() if not left.keys() & set(wanted)]:
        ordered += ready
        for name in ready:
            del left[name]
    if left:
        circle = _circle(left)
        way = " -> ".join((*circle, circle[0]))
        note((circle[0], "needs"), f"steps wait for each other in a circle: {way}", "take one of them out")
        for name in left:
            if name not in circle and _waits_for(name, left, circle):
                note(
                    (name, "needs"),
                    f"it can never begin: it waits for the circle of `{circle[0]}`",
                    "see there",
                )
    return ordered, problems


def _circle(left: Mapping[str, Sequence[str]]) -> list[str]:
    """One circle among steps of which each waits for another of them, from its first step in the file on."""
    way: list[str] = []
    step = next(iter(left))
    while step not in way:
        way.append(step)
        step = next(other for other in left[step] if other in left)
    circle = way[way.index(step) :]
    first = min(circle, key=list(left).index)
    at = circle.index(first)
    return circle[at:] + circle[:at]


def _waits_for(name: str, left: Mapping[str, Sequence[str]], circle: Sequence[str]) -> bool:
    """Whether a step waits, in the end, for that circle."""
    seen: set[str] = set()
    queue = [name]
    while queue:
        step = queue.pop()
        if step in circle:
            return True
        if step not in seen:
            seen.add(step)
            queue += [other for other in left[step] if other in left]
    return False
