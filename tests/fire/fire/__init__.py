"""The parts of the proof by fire."""
