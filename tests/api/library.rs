//! The server as a part of another program: the builder, the layer, and the examples as programs.

mod builder;
mod examples;
mod layer;
mod lifetime;
mod visitor;
