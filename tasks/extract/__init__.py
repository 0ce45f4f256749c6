"""What is read from Halo when, and one extraction of one account."""
