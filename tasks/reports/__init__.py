"""What a staging tells: status, audit with its reconciliation, and exports."""
