"""The load generator measured: its cost and the accuracy of its figures."""
