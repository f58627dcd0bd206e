"""What touches the operating system: ports, signals, sockets, processors, programs."""
