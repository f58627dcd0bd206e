"""A server of the legacy quote protocol, as slow and unreliable as configured."""
