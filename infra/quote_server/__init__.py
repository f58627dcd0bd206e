"""Our own server of the legacy quote protocol, as slow and unreliable as it is told to be."""
