"""A chat on several processes that loses no message while they are restarted, and doubles none."""
