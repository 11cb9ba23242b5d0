"""The harness: installs and starts everything, plays the person, watches the wire, keeps score."""
