"""Operating system helpers: ports, signals, sockets, processors, programs."""
