"""Whether a run still learns: what its metrics say while it goes on."""
