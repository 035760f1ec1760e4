//! Meow
