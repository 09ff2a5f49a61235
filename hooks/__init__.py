"""The hooks for pre-commit; installed as ``pytest_prime_train._hooks``, never as ``hooks``."""
