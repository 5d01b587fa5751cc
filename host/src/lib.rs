//! ays-host
