"""Checkpoints that can be trusted: whether a step is complete, its backup and its restore.

Nothing here imports torch, and nothing is loaded before a command of this room runs.
"""
