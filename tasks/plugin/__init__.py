"""The USM Anywhere Halo plugin: its fields, the event catalogue, and raw events normalized into them."""
