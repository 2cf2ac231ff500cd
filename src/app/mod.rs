//! The process: builds the task tree, drains it, ends it.
