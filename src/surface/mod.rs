//! The surfaces: one folder each, one line each in the registry; and the world, the in-memory cloud.
