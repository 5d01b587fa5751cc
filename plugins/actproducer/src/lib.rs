//! actproducer
