"""The local stack: its processes, in order, from start to stop."""
