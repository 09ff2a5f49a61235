"""From text to a resolved config: reading, recognising, resolving, places in the text."""
