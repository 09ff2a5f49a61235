"""What prime-rl refuses, or warns of, because of several keys together."""
