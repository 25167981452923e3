"""Image bytes: what they are, whether they are whole, and turning one format into another."""
