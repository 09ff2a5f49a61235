"""What gotchas have to know besides the config: of the model, the machine, the run directory.

A fact is given by the user, or known of a bundled model, or unknown; it is never guessed.
"""
