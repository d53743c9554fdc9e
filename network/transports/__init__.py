"""Links that libp2p does not bring itself, each ending in the same Noise + yamux connection.

tcp  websocket  memory (through the air of one process)
addresses    names of our own in multiaddr
"""
