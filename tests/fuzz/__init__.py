"""Nonsense for every reader, the definitions, the bundle loader and the API.

`python -m tests.fuzz` (``make fuzz``) runs millions of executions; `tests/test_fuzz.py` a slice.
"""
