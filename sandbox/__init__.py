"""What demo, tests and benchmarks share: a Halo API stand-in, a receiver, a generator."""
