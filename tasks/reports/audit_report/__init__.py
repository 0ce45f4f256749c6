"""The audit of a range as one page to hand over: HTML without anything from elsewhere."""
