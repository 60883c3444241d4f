//! grantd: access as code that ends by itself.
pub mod cli;
pub mod command;
pub mod config;
pub mod journal;
pub mod model;
pub mod source;
pub mod surface;
pub mod decide;
pub mod engine;
