"""A simulated prime-rl run, whose true bottleneck is known because it can be run again.

``world`` runs it, ``truth`` runs it again with one stage made better, ``files`` writes what
prime-rl would have written, ``draws`` thinks up runs of every kind.
"""
