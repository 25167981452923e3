"""Commands about the installation: configuration, ledger, backends, workers."""
