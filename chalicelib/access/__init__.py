"""Who may do what, and how often: tokens, their keys, the rate limit."""
