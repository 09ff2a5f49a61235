"""Launches that survive what rented machines do: launch, watch, tell failures apart, resume."""
