"""The USM Anywhere Halo plugin: its fields, the event catalogue, and the normalizer."""
