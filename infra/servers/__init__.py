"""Servers of the app: the gateway, Chalice's own, and the ticker that sweeps."""
