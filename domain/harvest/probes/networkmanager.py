"""NetworkManager: whether the network costs by volume. It guesses where nobody told it, and a guess is taken.

After NMMetered in its D-Bus types: 0 unknown, 1 yes, 2 no, 3 guessed yes, 4 guessed no.
"""

from __future__ import annotations

from typing import Final

from domain.harvest.probes.bus import Bus
from domain.harvest.readings import Readings

SERVICE: Final = "org.freedesktop.NetworkManager"
PATH: Final = "/org/freedesktop/NetworkManager"

METERED: Final = {1: True, 2: False, 3: True, 4: False}


class NetworkManager:
    """The connection that the default route takes."""

    name = "NetworkManager"

    def __init__(self, bus: Bus) -> None:
        self.bus = bus

    async def read(self) -> Readings:
        properties = await self.bus.properties(SERVICE, PATH, SERVICE)
        return Readings(metered=METERED.get(properties.get("Metered", 0)))
