"""From raw events to normalized or rejected ones."""
