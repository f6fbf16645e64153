"""Networks by name, and a generator's weights as one checked file."""
