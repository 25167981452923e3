"""What still has to leave the ledger: usage rows and copies of images."""
