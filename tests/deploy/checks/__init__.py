"""What is in deploy/, checked without a container engine."""
