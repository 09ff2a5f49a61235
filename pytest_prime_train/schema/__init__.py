"""What every version of prime-rl reads, and whether a value is what it wants."""
