"""Acceptance tests: whole outages and long runs, each over 30 s; run by `make accept`.

They stand outside pytest's `testpaths`, so `make test` does not collect them.
"""
