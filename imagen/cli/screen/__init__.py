"""What commands write: answers on stdout, everything for people on stderr."""
