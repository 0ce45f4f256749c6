"""The work of the pipeline: plain functions that know nothing of who schedules them."""
