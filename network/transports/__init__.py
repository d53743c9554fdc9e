"""Links that libp2p does not bring itself, each ending in the same Noise + yamux connection."""
