"""Which half of a run is slow: the bottleneck, what curing it brings, and how.

``steady`` picks the steps that count, ``evidence`` and ``engines`` work out what they show,
``gains`` estimates what each lever would bring, ``verdict`` ranks them, ``remedies`` says what to
write into the config. ``api.diagnose`` is the way through.
"""
