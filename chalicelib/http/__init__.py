"""The HTTP interface: routes, requests, answers, problems."""
