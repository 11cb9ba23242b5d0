//! The contract on the memory store, and what only it promises: bounds, and races of threads.

use super::{World, contract};

contract!(Some(World::in_memory()));
