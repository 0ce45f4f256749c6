"""Days of five-minute syncs in fast motion, with faults on both sides, drawn from a seed."""
