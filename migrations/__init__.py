"""The history of the ledger's schema, packaged for `imagen db upgrade`."""
