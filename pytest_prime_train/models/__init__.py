"""Facts of model architectures: bundled, from a model directory, from the hub, from a meta load.

Everything here takes and returns plain values; no module of this room imports torch, and only
:mod:`hub` and :mod:`meta` need anything outside the standard library, imported when called.
"""
