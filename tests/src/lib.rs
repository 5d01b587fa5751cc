//! ays-tests
