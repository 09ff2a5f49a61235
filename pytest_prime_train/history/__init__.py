"""What was launched on this machine, with what config, and what came of it."""
