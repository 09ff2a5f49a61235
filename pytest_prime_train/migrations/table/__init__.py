"""The changes of each version, in the order in which they are applied."""
