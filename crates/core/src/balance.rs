//! Balancing methods, each a file of the same shape.
