"""What a number of accounts and events takes: a model, its constants, and how they are measured."""
