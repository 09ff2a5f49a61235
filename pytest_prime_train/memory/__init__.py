"""Will it fit, and how fast will it be: estimates of memory and throughput with their parts.

The trainer's and vLLM's memory per GPU (:mod:`trainer`, :mod:`inference`), speed
(:mod:`throughput`), verdicts (:mod:`verdict`) and the smallest changes that make a run fit
(:mod:`what_if`). All of it is arithmetic on plain inputs (:mod:`shapes`): no torch, no network.
"""
