"""The Halo events API: a client that reads a window of time completely, or says what is missing."""
