"""The surroundings: the local stack, its servers, tokens."""
