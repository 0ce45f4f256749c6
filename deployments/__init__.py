"""What is needed on a Prefect server: the deployments, and the automations that alert."""
