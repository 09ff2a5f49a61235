"""How findings look: one module per format, all showing the same findings in the same words."""
