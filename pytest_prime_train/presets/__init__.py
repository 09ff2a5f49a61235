"""Settings that are known to work on each card, and configs that are written from them.

:mod:`facts` reads them, :mod:`text` writes a config with a reason beside every choice, and
:mod:`suggest` says of a config that does not fit which of them would make it fit.
"""
