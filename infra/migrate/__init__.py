"""Takes the data of older builds over: see `docs/operations.md`, upgrade and way back."""
