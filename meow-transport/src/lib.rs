//! URL dispatch for Meow transports: the registry, wrappers and the memory scheme.
