"""The staging: Parquet files whose names are the state of the pipeline, and the delivery ledger."""
