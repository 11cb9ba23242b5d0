//! What the server tells of itself, and what it never tells: figures, log lines, the audit log.

mod deployment;
mod ids;
mod reference;
mod search;
mod start;
mod told;
mod walk;
