"""Old configs become today's: what became of every key, and the plan for one file."""
