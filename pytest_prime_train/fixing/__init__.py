"""Curing findings: what a recommendation says is written into the file, and judged again."""
