"""Measures the load generator itself: its cost and the accuracy of its figures."""
