//! The journal's backends and the chain that they share.
