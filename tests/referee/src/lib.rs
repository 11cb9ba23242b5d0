//! Empty: the package is its tests and its benchmark.
