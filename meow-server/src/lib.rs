//! The Meow relay as a library, and the meowd binary.
